"""What each verb of the `xmodel` command takes and prints, a file for each kind."""
