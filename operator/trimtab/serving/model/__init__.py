"""The verified artifact and its model: fetched, checked, loaded; a matrix in, predictions out."""
