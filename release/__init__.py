"""What a release is made with, beside the wheel: the list of what it stands on, its audit, bundles for hosted Airflows."""
