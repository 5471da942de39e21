"""The application around the models: settings, composing to files, command line."""
