"""What all REST doors share: who may, how it fails, how filters refuse."""
