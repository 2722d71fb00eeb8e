"""Git: mirrors of the internal server's repositories, disposable work trees, and the way back to the forge."""
