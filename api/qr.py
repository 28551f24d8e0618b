"""Short texts as pictures that a camera reads."""

import io


def svg_of(text: str) -> str:
    """A QR code as an SVG image, to stand in a page as it is."""
    import segno  # only who shows a code pays for it

    out = io.BytesIO()
    segno.make_qr(text).save(out, kind="svg", xmldecl=False, scale=4)
    return out.getvalue().decode()
