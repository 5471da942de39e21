"""The application: settings, jobs, delivery and the command line."""
