"""The page kit: one HTML file that needs nothing else, and its pieces; the page of a collection.

A page is a `page.Page`: a title, sections, and in each section blocks of `pieces`. `page.write_page` assembles them::

    curves = Chart("curves", "Loss by epoch.", (Layer("line", {"x": [1, 2], "y": [0.9, 0.5]}, name="training"),),
                   x=Axis("epoch"), y=Axis("loss"))
    songs = Table("songs", "All songs.", (Column("song", ids), Column("length", seconds, "number")))
    page = Page("Run", "my-run", "36 songs", (Section("songs", "Songs", (curves, songs)),))
    write_page(page, Path("report.html"))

All text of a block is shown literally: names of songs and classes come from strangers. A page that wants more than its
blocks do gives its own script (`Page.scripts`) and data (`Page.data`); the top of `page.js` says what it may call.
`pictures` makes a PNG of an array, `sound` the source of an audio element.
"""

__all__ = ["collection", "page", "pictures", "pieces", "songs", "sound"]
