"""What is trained: a module for each tier behind one protocol."""
