"""English words that occur in texts on any subject, so that none of them makes a key phrase."""

from twin_assets.stores.stop_words import ENGLISH

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

IN_ANY_TEXT = frozenset((*ENGLISH, *_IN_ANY_TEXT.split()))
"""The stop words, and words that one may well search for but that still tell nothing of a text's subject."""
