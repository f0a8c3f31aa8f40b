"""The routes, a module for each of Discord's resources, which is why there are more than twenty of them."""
