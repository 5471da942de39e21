"""Tiny MusicGens with random weights, in the format they are published in, and what `transformers` makes of them."""

from __future__ import annotations

from collections.abc import Sequence as Listed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.engines.musicgen.checkpoint import Checkpoint
from models.engines.musicgen.decoder import delayed

VOCABULARY = 64  # codes of a codebook
WORDS = ("80s pop track with bassy drums and synth", "90s rock song with loud guitars and heavy drums",
         "lofi slow bpm electro chill with organic samples", "a sad piano ballad in c minor")
KINDS: dict[str, dict[str, Any]] = {
    "mono": {}, "stereo": {"channels": 2}, "melody": {"melody": True}, "stereo-melody": {"channels": 2, "melody": True}}
MELODY = 20  # chroma of a melody that the tiny networks look at


def write(folder: Path, *, channels: int = 1, melody: bool = False, seed: int = 0, **saving: Any) -> Path:
    """A MusicGen of two layers; the same seed gives the same weights."""
    from transformers import (
        EncodecConfig,
        EncodecFeatureExtractor,
        MusicgenConfig,
        MusicgenForConditionalGeneration,
        MusicgenMelodyConfig,
        MusicgenMelodyForConditionalGeneration,
        T5Config,
    )
    torch.manual_seed(seed)
    tokenizer = _tokenizer()
    text = T5Config(
        vocab_size=320, d_model=24, d_kv=8, d_ff=48, num_layers=2, num_heads=3, is_encoder_decoder=False, use_cache=False)
    sound = EncodecConfig(  # strides that multiply to 640: 50 frames a second at 32 kHz
        sampling_rate=32000, audio_channels=1, target_bandwidths=[50 * 4 * 6 / 1000], codebook_size=VOCABULARY, num_filters=4,
        hidden_size=16, upsampling_ratios=[8, 5, 4, 4], num_residual_layers=1, num_lstm_layers=1, use_causal_conv=False,
        norm_type="weight_norm", chunk_length_s=None, normalize=False, overlap=None)
    decoder = {
        "vocab_size": VOCABULARY, "hidden_size": 32, "ffn_dim": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_codebooks": 4 * channels, "audio_channels": channels, "pad_token_id": VOCABULARY, "bos_token_id": VOCABULARY,
        "is_decoder": True}
    model: Any
    if melody:
        model = MusicgenMelodyForConditionalGeneration(
            MusicgenMelodyConfig(text_encoder=text, audio_encoder=sound, decoder=decoder, chroma_length=MELODY))
    else:
        model = MusicgenForConditionalGeneration(
            MusicgenConfig(text_encoder=text, audio_encoder=sound, decoder=decoder | {"add_cross_attention": True}))
    with torch.no_grad():
        for name, parameter in (*model.decoder.named_parameters(), *model.text_encoder.named_parameters()):
            if parameter.dim() == 2:  # with the usual small weights, logits hardly differ and codes stay the same
                parameter.normal_(std=1.0 if "embed_tokens" in name else 0.25)
        for name, parameter in model.named_parameters():
            if name.startswith(("enc_to_dec_proj", "audio_enc_to_dec_proj")):
                parameter.normal_(std=0.5)  # the bias too: it is zero at first
    for layer in model.audio_encoder.quantizer.layers:
        layer.codebook.embed.normal_()
    wishes = model.generation_config
    wishes.do_sample, wishes.guidance_scale, wishes.max_length = True, 3.0, 1500
    wishes.pad_token_id = wishes.bos_token_id = wishes.decoder_start_token_id = VOCABULARY
    model.eval().save_pretrained(folder, **saving)
    tokenizer.save_pretrained(folder)
    EncodecFeatureExtractor(feature_size=channels, sampling_rate=32000).save_pretrained(folder)
    return folder


def _tokenizer() -> Any:
    """A tokenizer of T5's kind, trained on a few words."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast
    made = Tokenizer(models.Unigram())
    made.normalizer = normalizers.NFKC()
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    made.train_from_iterator(WORDS * 4, trainers.UnigramTrainer(
        vocab_size=300, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>"))
    made.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=made, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")


@dataclass(frozen=True)
class Tiny:
    """A written model, and the same one in `transformers`."""

    kind: str
    folder: Path
    model: Any
    tokenizer: Any

    @property
    def melody(self) -> bool:
        return "melody" in self.kind

    def open(self) -> Checkpoint:
        return Checkpoint.open(self.folder, f"musicgen-{self.kind}")

    def generate(self, prompts: Listed[str], steps: int, guidance: float = 3.0, **more: Any) -> tuple[Tensor, Tensor, Tensor]:
        """The library's own: logits (steps, prompts, codebooks, vocabulary), their likeliest codes, samples."""
        inputs = self.tokenizer(list(prompts), return_tensors="pt", padding=True)
        made = self.model.generate(
            **inputs, **more, do_sample=False, guidance_scale=guidance, max_new_tokens=steps, return_dict_in_generate=True,
            output_scores=True)
        logits = torch.stack(made.scores)
        logits = logits.view(steps, len(prompts), -1, logits.shape[-1])
        return logits, logits.argmax(-1), made.sequences

    @torch.inference_mode()
    def logits(self, prompt: str, frames: np.ndarray, guidance: float, chroma: Tensor | None = None) -> Tensor:
        """Of what comes behind whole frames (frames, codebooks), all read at once: (codebooks, vocabulary).

        `chroma` are the strongest of a melody, (time,).
        """
        delays = [codebook // self.model.config.decoder.audio_channels for codebook in range(frames.shape[1])]
        fed = np.concatenate((np.full((1, len(delays)), VOCABULARY), delayed(frames, delays, VOCABULARY)))
        codes = torch.from_numpy(fed.T.astype(np.int64))
        inputs = self.tokenizer([prompt], return_tensors="pt")
        unwanted: dict[str, Any]
        if self.melody:
            features = None if chroma is None else torch.nn.functional.one_hot(chroma.long(), 12).float()[None]
            both = self.model._prepare_encoder_hidden_states_kwargs_for_generation(
                inputs.input_ids, {"attention_mask": inputs.attention_mask, "input_features": features}, None,
                _Guided())["encoder_hidden_states"]
            wanted, unwanted = {"encoder_hidden_states": both[:1]}, {"encoder_hidden_states": both[1:]}
        else:
            zeros = torch.zeros_like(inputs.attention_mask)
            width = self.model.config.text_encoder.d_model
            wanted = dict(inputs)
            unwanted = {"encoder_outputs": (torch.zeros(1, zeros.shape[1], width),), "attention_mask": zeros}
        with_it, without = (self.model(**given, decoder_input_ids=codes).logits[:, -1] for given in (wanted, unwanted))
        logits: Tensor = without + guidance * (with_it - without)
        return logits


class _Guided:
    """What the library looks at of a generation's configuration."""

    guidance_scale = 3.0
    output_attentions = output_hidden_states = False
