"""An image with two inputs, for the tests of building."""

from hack.images.catalog import IMAGES, Image

PROGRAMS = [image for image in IMAGES if image.name != "postgres"]


IMAGE = Image("app", "app")
