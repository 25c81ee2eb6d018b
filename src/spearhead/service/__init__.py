"""What people and programs reach over the network. Knows no training and no data."""
