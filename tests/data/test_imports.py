"""`kgenre.data` is imported without a backend, for the command line; films are read without TensorFlow."""

import pytest

pytestmark = pytest.mark.backend_free


def test_signatures_need_no_backend_and_films_no_tensorflow(sample, run_python):
    script = f"""
import sys, kgenre.data
kgenre.data.FilmData()
print(sorted({{"tensorflow", "keras", "jax", "sklearn", "PIL", "rich"}} & set(sys.modules)))
films = kgenre.data.read_films({str(sample)!r})
kgenre.data.split_films(films)
vectorizer = kgenre.data.OverviewVectorizer.adapt(["a ship", "ships"], sequence_length=2, stem="english", min_df=2)
print(vectorizer.encode(["Ships"]).tolist(), kgenre.data.read_poster(films.poster_paths[0], (8, 8)).shape)
print("tensorflow" in sys.modules)
"""
    assert run_python(script).splitlines() == ["[]", "[[2, 0]] (8, 8, 3)", "False"]
