"""Words that tell nothing of what a text is about, for what works on English alone."""

_NLTK = (
    "a about above after again against ain all am an and any are aren as at be because been before being below "
    "between both but by can couldn d did didn do does doesn doing don down during each few for from further had hadn "
    "has hasn have haven having he her here hers herself him himself his how i if in into is isn it its itself just "
    "ll m ma me mightn more most mustn my myself needn no nor not now o of off on once only or other our ours "
    "ourselves out over own re s same shan she should shouldn so some such t than that the their theirs them "
    "themselves then there these they this those through to too under until up ve very was wasn we were weren what "
    "when where which while who whom why will with won wouldn y you your yours yourself yourselves"
)
_IN_ANY_TEXT = (
    "across afterwards almost alone along already also although always among amongst amount another anyhow anyone "
    "anything anyway anywhere around back became become becomes becoming beforehand behind beside besides beyond call "
    "cannot could couldnt describe done due eight either eleven else elsewhere enough etc even ever every everyone "
    "everything everywhere except fifteen fifty fill find first five former formerly forty four full get give going "
    "good got hence however hundred indeed it's know last latter least less let like look lot made make makes many "
    "may meanwhile might mine moreover mostly move much must name namely need neither never nevertheless new next "
    "nine nobody none nothing nowhere often one onto others otherwise part per perhaps please put quite rather really "
    "said say says see seem seemed seeming seems seven several show side since six sixty somehow someone something "
    "sometime sometimes somewhere still take ten that's there's therefore thing things think though three throughout "
    "thus together top toward towards twelve twenty two unless upon use used using via want way well whatever "
    "whenever whereas whereby wherever whether whoever whole whose within without would yet"
)

ENGLISH = tuple(_NLTK.split())
"""NLTK's list, without its package of data. In an order that never changes: it is part of an index's settings."""

IN_ANY_TEXT = frozenset((*ENGLISH, *_IN_ANY_TEXT.split()))
"""The same and more: a search may be for one of these, a key phrase is none of them."""
