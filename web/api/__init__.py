"""One module per resource; a view checks nothing that a model or a repository can check."""
