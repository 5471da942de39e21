"""What audiocraft imports and Kapelle's audiocraft environment does not hold, each answered by a few lines here.

This folder is put in front of `sys.path` by `models/engines/audiocraft/library.py`, and so only in a process that
runs audiocraft. What stands in, and why the real one is not installed:

* `torchaudio`: its wheels are tied to one build of torch each; beside torch's CPU build the one that pip offers cannot
  be loaded. Of all it can do, a spectrogram (for melodies) and a loudness are called, both a few lines with torch.
* `xformers`: compiled for CUDA and one version of torch. Called are its attention and its `unbind`, which torch has.
* `spacy`: taken for the words of the untrained 'debug' model only; published models read text with T5.

Everything else that audiocraft imports (av, librosa, julius, demucs, flashy ...) is the real thing.
"""
