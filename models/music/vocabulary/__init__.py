"""The seed system's vocabulary: scores to ids and back."""
