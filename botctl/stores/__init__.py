from botctl.stores import cancellation as cancellation  # before any client is made
