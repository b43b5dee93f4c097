import subprocess
import sys


def test_the_command_line_can_read_signatures_without_a_backend():
    code = (
        "import sys, kgenre.data; kgenre.data.FilmData(); "
        "heavy = {'tensorflow', 'keras', 'jax', 'sklearn', 'iterstrat', 'PIL', 'rich'} & set(sys.modules); "
        "sys.exit(', '.join(sorted(heavy)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_tables_are_read_and_split_without_tensorflow(sample):
    code = (
        "import sys; from kgenre.data import read_films, split_films; "
        f"films = read_films({str(sample)!r}); split_films(films); "
        "sys.exit('tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
