"""A scenario as one strict file: data, rights, model, training, bars, review, labels and price. Choices only."""
