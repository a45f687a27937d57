"""What lines do with a name, in eleven languages."""

import pytest

from codebase_index.languages import NAMES
from codebase_mcp.search.code_lexer import LEXERS
from codebase_mcp.search.uses import PROSE, Use, uses

SAMPLES: dict[str, str] = {
    "python": '''\
from shop.store import Store                    @@ import
from shop import (
    Store,                                      @@ import
)
class Cache(Base, Store):                       @@ inheritance
    """A Store in memory."""                    @@ comment
    inner: Store | None = None                  @@ type
    outer: dict[str, list[int] | a.Store]       @@ type
def f(x: list[Store]) -> None:                  @@ type
    print("Store")                              @@ string
    return Store(x)                             @@ call
classes = [Store]                               @@ mention
@Store                                          @@ call
def Store(): ...                                @@ definition
# the Store                                     @@ comment
''',
    "go": """\
func (s *Server) Store(x int) {                 @@ definition
	s.Store(x) // again                         @@ call
	// Store it                                 @@ comment
	var x store.Store                           @@ type
	y := &Store{x}                              @@ call
	fmt.Println("Store", x)                     @@ string
	f := s.Store                                @@ mention
}
type Cache struct {
	*Store                                      @@ inheritance
	inner Store                                 @@ type
}
func f(s *Store) error {                        @@ type
""",
    "typescript": """\
import { Store } from './store'                 @@ import
import {
  Store,                                        @@ import
} from './store'
export { Store } from './store'                 @@ import
class Cache extends Store {                     @@ inheritance
class Other implements Base, Store {            @@ inheritance
  inner: Store | null = null                    @@ type
  map = new Map<string, Store>()                @@ type
  /** A Store.                                  @@ comment
   * The Store. */                              @@ comment
  get() { return new Store(1) }                 @@ call
  put() { return Store.of('a') }                @@ mention
function Store() {}                             @@ definition
""",
    "javascript": """\
const Store = require('./store')                @@ import
const Store = load('Store')                     @@ mention
exports.run = () => Store(1)                    @@ call
class Cache extends Store {                     @@ inheritance
log(`Store`)                                    @@ string
""",
    "java": """\
import com.acme.Store;                          @@ import
class Cache extends Base implements Store {     @@ inheritance
    private final Store store;                  @@ type
    public Store get() {                        @@ type
        return new Store(1);                    @@ call
    }
    public Store(int x) {                       @@ definition
    List<Store> all;                            @@ type
    @Store                                      @@ call
""",
    "rust": """\
use crate::store::Store;                        @@ import
impl Store for Cache {                          @@ inheritance
trait Other: Store {                            @@ inheritance
fn f(x: &Store) -> Option<Store> {              @@ type
    let s = Store::<u8>(1);                     @@ call
    let c = 'a'; // Store                       @@ comment
    Store!(1)                                   @@ call
struct Store {                                  @@ definition
""",
    "c": """\
#include "Store.h"                              @@ import
Store *make(void);                              @@ type
int Store(int x) {                              @@ definition
    return Store(x);                            @@ call
    f(&Store);                                  @@ mention
/* Store */                                     @@ comment
""",
    "cpp": """\
class Cache : public Base, private Store {      @@ inheritance
    std::vector<Store> all;                     @@ type
    auto s = std::make_unique<Store>(1);        @@ type
    auto t = ns::Store(1);                      @@ call
""",
    "csharp": """\
using Acme.Store;                               @@ import
class Cache : Base, Store {                     @@ inheritance
    Store inner;                                @@ type
    var s = new Store();                        @@ call
    public void Store(int x) {                  @@ definition
    var t = @"c:\\Store";                       @@ string
""",
    "ruby": """\
class Cache < Store                             @@ inheritance
  include Store                                 @@ inheritance
  def Store                                     @@ definition
  x.Store 1                                     @@ call
  Store(1) # about                              @@ call
  # Store                                       @@ comment
""",
    "php": """\
use Acme\\Store;                                @@ import
class Cache extends Base implements Store {     @@ inheritance
    private function x(Store $s): Store {       @@ type
        return new \\Acme\\Store(1);            @@ call
        # Store                                 @@ comment
""",
}


@pytest.mark.parametrize("language", SAMPLES)
def test_a_line_s_use_of_a_name_is_told(language: str) -> None:
    lines = [line.partition("@@") for line in SAMPLES[language].splitlines()]
    text = "\n".join(code.rstrip() for code, _, _ in lines)
    asked = [number for number, (_, mark, _) in enumerate(lines) if mark]
    found = uses(text, language, "Store", asked)
    wanted = {n: lines[n][2].strip() for n in asked}
    assert {lines[n][0]: str(found[n]) for n in asked} == {lines[n][0]: wanted[n] for n in asked}


def test_a_chunk_may_begin_in_a_comment_and_prose_is_no_code() -> None:
    assert uses("the Store\n*/\nStore()\n", "java", "Store", [0, 2]) == {0: Use.COMMENT, 2: Use.CALL}
    assert uses("call `Store()`", "markdown", "Store", [0]) == {0: Use.COMMENT}
    assert uses("Store", None, "Store", [0]) == {0: Use.MENTION}


@pytest.mark.parametrize("language", ["python", "java", "rust", "csharp", "ruby", "php", "javascript"])
def test_hostile_text_is_read_in_time_that_grows_with_it(language: str) -> None:
    for part in (
        '"""',
        "'''",
        "/*",
        '"\\',
        "#",
        "r#",
        "class a:<",
        "import {",
        "a<b,",
        "Store<",
        "new a.",
        "(Store ",
    ):
        line = (part * 700)[:700]  # a line of a chunk that is as long as the chunk
        uses(line + "Store" + line, language, "Store", [0])  # minutes, if a pattern looked far from each place


def test_the_rules_are_for_languages_by_the_names_that_files_have() -> None:
    """Under another name than ours a language has no rule: .rst files, called "rst" here, were taken for code."""
    assert set(NAMES) >= PROSE | set(LEXERS)
    assert uses("Store keeps carts, see Store()", "restructuredtext", "Store", [0]) == {0: Use.COMMENT}


@pytest.mark.parametrize(
    "before",
    ["x: " + "a[" * 100 + " = ", "x: " + "a[0] ^ " * 100 + "(", "a<" * 250 + "," + " " * 800 + "("],
)
def test_brackets_before_a_use_are_read_once_and_not_in_all_their_divisions(before: str) -> None:
    assert uses(before + "Store", "python", "Store", [0]) == {0: Use.MENTION}  # never, if each doubles the time
