"""Small random models in the format that Meta publishes for audiocraft. Runs in audiocraft's own environment only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

CODES, WIDTH, CODEBOOKS = 64, 32, 4
WORDS = ["80s pop track with bassy drums and synth", "a sad jazz piano ballad in c minor", "rain on a tin roof"] * 4


def write_text_encoder(folder: Path) -> None:
    """A T5 with one layer. audiocraft knows the width of each published T5, so it has that of the smallest."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel
    words = Tokenizer(models.Unigram())
    words.pre_tokenizer = pre_tokenizers.Metaspace()
    words.decoder = decoders.Metaspace()
    words.train_from_iterator(WORDS, trainers.UnigramTrainer(
        vocab_size=200, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>"))
    words.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    kind: Any = PreTrainedTokenizerFast
    kind(tokenizer_object=words, pad_token="<pad>", eos_token="</s>", unk_token="<unk>").save_pretrained(folder / "t5-small")
    T5EncoderModel(T5Config(
        vocab_size=256, d_model=512, d_kv=8, d_ff=64, num_layers=1, num_heads=2, is_encoder_decoder=False,
        use_cache=False)).save_pretrained(folder / "t5-small")


def write_separator(folder: Path) -> None:
    """demucs with few channels, as its authors publish it: settings and safetensors."""
    from demucs.htdemucs import HTDemucs
    from safetensors.torch import save_file
    settings = {"sources": ["drums", "bass", "other", "vocals"], "channels": 4, "growth": 1, "t_layers": 1, "t_heads": 2,
                "segment": 2, "dconv_mode": 0}
    place = folder / "HTDemucs"
    place.mkdir(parents=True)
    (place / "htdemucs.yaml").write_text("models: ['small']\n")
    save_file(
        {name: value.contiguous() for name, value in HTDemucs(**settings).state_dict().items()}, place / "small.safetensors",
        {"klass": "demucs.htdemucs.HTDemucs", "args": "[]", "kwargs": json.dumps(settings)})


def write_named_codec(folder: Path) -> None:
    """The EnCodec that stereo models name instead of bringing their own, as `transformers` writes it."""
    from transformers import EncodecConfig, EncodecModel
    codec: Any = EncodecModel(EncodecConfig(
        sampling_rate=32000, audio_channels=1, target_bandwidths=[50 * CODEBOOKS * 6 / 1000], codebook_size=CODES,
        num_filters=4, hidden_size=16, upsampling_ratios=[8, 5, 4, 4], num_residual_layers=1, num_lstm_layers=1,
        use_causal_conv=False, norm_type="weight_norm", chunk_length_s=None, normalize=False, overlap=None))
    for layer in codec.quantizer.layers:
        layer.codebook.embed.normal_()
    codec.save_pretrained(folder / "encodec_32khz")


def write_model(
    folder: Path, *, family: str = "MusicGen", stereo: bool = False, melody: bool = False, seconds: float = 30,
    own: bool = True,
) -> None:
    """`state_dict.bin` and `compression_state_dict.bin`; `own`: the codec is in them, and not only its name.

    What the model names must be where `looking_in` finds it.
    """
    from audiocraft.models import builders
    from omegaconf import OmegaConf
    folder.mkdir(parents=True)
    rate_hz = 16000 if family == "AudioGen" else 32000
    books = CODEBOOKS * (1 + stereo)
    delays = [book // 2 for book in range(books)] if stereo else list(range(books))
    conditioners: dict[str, Any] = {"description": {"model": "t5", "t5": {
        "name": "t5-small", "finetune": False, "word_dropout": 0.3, "normalize_text": False}}}
    if melody:
        conditioners["self_wav"] = {"model": "chroma_stem", "chroma_stem": {
            "sample_rate": "${sample_rate}", "n_chroma": 12, "radix2_exp": 14, "argmax": True, "match_len_on_eval": False,
            "eval_wavs": None, "n_eval_wavs": 100, "cache_path": None}}
    settings: dict[str, Any] = {
        "lm_model": "transformer_lm_magnet" if family == "MAGNeT" else "transformer_lm",
        "sample_rate": rate_hz, "channels": 1 + stereo, "device": "cpu", "dtype": "float32",
        "dataset": {"segment_duration": seconds}, "masking": {"span_len": 3},
        "codebooks_pattern": {"modeling": "delay", "delay": {"delays": delays, "flatten_first": 0, "empty_initial": 0}},
        "transformer_lm": {
            "dim": WIDTH, "num_heads": 4, "num_layers": 2, "hidden_scale": 4, "n_q": books, "card": CODES, "dropout": 0.0,
            "emb_lr": None, "activation": "gelu", "norm_first": True, "bias_ff": False, "bias_attn": False,
            "bias_proj": False, "past_context": None, "causal": True, "custom": False, "memory_efficient": True,
            "attention_as_float32": False, "layer_scale": None, "positional_embedding": "sin", "xpos": False,
            "checkpointing": "none", "weight_init": "gaussian", "depthwise_init": "current", "zero_bias_init": True,
            "norm": "layer_norm", "cross_attention": False, "qk_layer_norm": False, "qk_layer_norm_cross": False,
            "attention_dropout": None, "kv_repeat": 1, "two_step_cfg": False},
        "attribute_dropout": {}, "classifier_free_guidance": {"training_dropout": 0.3, "inference_coef": 3.0},
        "fuser": {"cross_attention_pos_emb": False, "cross_attention_pos_emb_scale": 1, "sum": [],
                  "prepend": ["self_wav", "description"] if melody else [], "cross": [] if melody else ["description"],
                  "input_interpolate": []},
        "conditioners": conditioners, "compression_model_n_q": None,
        "interleave_stereo_codebooks": {"use": stereo, "per_timestep": False}}
    if family == "MAGNeT":
        settings["codebooks_pattern"] = {"modeling": "parallel", "parallel": {"empty_initial": -1}}
        settings["transformer_lm"] |= {
            "causal": False, "subcodes_context": 5, "compression_model_framerate": 50, "segment_duration": 0, "span_len": -1}
    made = OmegaConf.create(settings)
    if family == "MAGNeT":  # the loader fills these in
        made.transformer_lm |= {"segment_duration": seconds, "span_len": 3}
    network = builders.get_lm_model(made)
    for parameter in network.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.15)  # so that likely ids stand out, as they do after training
    torch.save({"best_state": network.state_dict(), "xp.cfg": OmegaConf.to_yaml(OmegaConf.create(settings)),
                "version": "1.3.0", "exported": True}, folder / "state_dict.bin")
    codec: dict[str, Any] = {"pretrained": "facebook/encodec_32khz", "version": "1.3.0", "exported": True}
    torch.save(_codec(rate_hz) if own else codec, folder / "compression_state_dict.bin")


def _codec(rate_hz: int) -> dict[str, Any]:
    from audiocraft.models import builders
    from omegaconf import OmegaConf
    settings = OmegaConf.create({
        "compression_model": "encodec", "sample_rate": rate_hz, "channels": 1, "device": "cpu",
        "encodec": {"autoencoder": "seanet", "quantizer": "rvq", "sample_rate": "${sample_rate}", "channels": "${channels}",
                    "causal": False, "renormalize": False},
        "seanet": {"dimension": 16, "channels": "${channels}", "causal": "${encodec.causal}", "n_filters": 4,
                   "n_residual_layers": 1, "ratios": [8, 5, 4, 4 * rate_hz // 32000], "activation": "ELU",
                   "activation_params": {"alpha": 1.0}, "norm": "weight_norm", "norm_params": {}, "kernel_size": 7,
                   "residual_kernel_size": 3, "last_kernel_size": 7, "dilation_base": 2, "pad_mode": "constant",
                   "true_skip": True, "compress": 2, "lstm": 1, "disable_norm_outer_blocks": 0,
                   "decoder": {"trim_right_ratio": 1.0, "final_activation": None, "final_activation_params": None},
                   "encoder": {}},
        "rvq": {"n_q": CODEBOOKS, "q_dropout": False, "bins": CODES, "decay": 0.99, "kmeans_init": True, "kmeans_iters": 50,
                "threshold_ema_dead_code": 2, "orthogonal_reg_weight": 0.0, "orthogonal_reg_active_codes_only": False}})
    codec = builders.get_compression_model(settings)
    for layer in codec.quantizer.vq.layers:
        layer._codebook.embed.normal_()
        layer._codebook.inited.fill_(True)
    return {"best_state": codec.state_dict(), "xp.cfg": OmegaConf.to_yaml(settings), "version": "1.3.0", "exported": True}


def write_diffusion(folder: Path) -> None:
    """Two bands of MultiBand Diffusion; their settings are pickled objects, as in the published file."""
    from audiocraft.models import builders
    from omegaconf import OmegaConf
    folder.mkdir(parents=True)
    bands: dict[Any, Any] = {"sample_rate": 32000, "n_bands": 2}
    for band in range(2):
        settings = OmegaConf.create({
            "channels": 1, "sample_rate": 32000,
            "schedule": {"beta_t0": 1e-5, "beta_t1": 2.9e-2, "beta_exp": 7.5, "num_steps": 1000, "variance": "beta",
                         "clip": 5.0, "rescale": 1.0, "n_bands": None, "noise_scale": 1.0, "repartition": "power"},
            "processor": {"name": "multi_band_processor", "use": True, "n_bands": 8, "num_samples": 10_000, "power_std": 1.0},
            "diffusion_unet": {"hidden": 8, "depth": 4, "growth": 2.0, "bilstm": True, "transformer": False, "codec_dim": 16,
                               "emb_all_layers": True, "kernel": 8, "stride": 4, "norm_groups": 4, "res_blocks": 1}})
        processor = builders.get_processor(settings.processor, sample_rate=32000)
        processor.project_sample(torch.randn(4, 1, 32000) * 0.1)  # what it scales by
        bands[band] = {"cfg": settings, "model_state": builders.get_diffusion_model(settings).state_dict(),
                       "processor_state": processor.state_dict()}
    torch.save(bands, folder / "mbd_musicgen_32khz.th")
