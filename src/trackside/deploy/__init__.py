"""The new image's digest proposed to where it is deployed from, as a pull request of one or two lines."""
