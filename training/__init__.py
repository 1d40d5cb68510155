"""A readable script per recipe. May use the package; the package never imports this."""
