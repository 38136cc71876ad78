"""Write the glossary, docs/glossary.md, from the words that galleries explain: `make docs`."""

import sys

from lambda_hat_core.gallery.glossary import page

if __name__ == "__main__":
    sys.stdout.write(page())
