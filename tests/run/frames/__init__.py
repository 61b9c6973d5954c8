"""Small experiments that the frame's tests run."""
