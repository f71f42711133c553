"""The Live page: frames in, answers out, and what is shown of them."""
