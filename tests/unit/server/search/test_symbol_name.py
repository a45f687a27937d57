"""Names of definitions as languages write them, and what they match."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codebase_index.store.query.symbol_search import DefinitionRow
from codebase_index.symbols import Kind
from codebase_mcp.errors import UserError
from codebase_mcp.search.modes.symbol import best_definitions
from codebase_mcp.search.symbol_name import SymbolName


@pytest.mark.parametrize(
    ("written", "parts"),
    [
        ("login", "login"), ("UserService.login", "UserService login"), ("UserService#login", "UserService login"),
        ("UserService::login", "UserService login"), ("UserService->login", "UserService login"),
        ("UserService.login()", "UserService login"), ("UserService.login(name, password)", "UserService login"),
        ("`login`", "login"), ("'login'", "login"), ("login;", "login"), ("@property", "property"),
        # Go
        ("(*Server).Serve", "Server Serve"), ("(Server).Serve", "Server Serve"), ("*Server.Serve", "Server Serve"),
        ("server.(*Server).Serve", "server Server Serve"), ("func (s *Server) Serve", "Server Serve"),
        ("func (s *Server) Serve(addr string) error {", "Server Serve"),
        ("func(s Server) Serve()", "Server Serve"),
        ("func (s *Set[T]) Add(x T)", "Set Add"), ("type Server struct {", "Server"),
        ("func Map[K, V any](m M)", "Map"), ("[]Server", "Server"), ("map[string]*Server", "Server"),
        # C and C++
        ("std::vector<int>::push_back", "std vector push_back"), ("vector<pair<int, int>>::begin", "vector begin"),
        ("operator==", "operator=="), ("Money::operator==", "Money operator=="),
        ("bool operator==(const Money& other) const", "operator=="), ("operator ()", "operator()"),
        ("shop::Money::operator ->", "shop Money operator->"), ("operator[]", "operator[]"),
        ("template <class T> class Bag", "Bag"), ("~Bag", "~Bag"), ("char *strdup(const char *s)", "strdup"),
        ("static int parse(void)", "parse"), ("enum class Color : int", "Color"), ("#define MAX 3", "MAX"),
        ("using Row = std::vector<int>", "Row"),
        # Java, C#, Kotlin, Scala, Swift
        ("com.acme.UserService.login", "com acme UserService login"),
        ("public static void main(String[] args)", "main"), ("class UserService extends Base", "UserService"),
        ("public final class UserService<T> implements A, B {", "UserService"), ("List<String> names()", "names"),
        ("open class Foo : Bar()", "Foo"), ("fun String.shout()", "String shout"), ("private val x: Int = 3", "x"),
        ("extension Foo: Bar", "Foo"), ("object Main extends App", "Main"), ("new UserService()", "UserService"),
        ("private final Map<String, List<Integer>> cache", "cache"), ("@Bean() public int size()", "size"),
        ("-[UserService login:]", "UserService login"),
        # Python, Ruby, Elixir
        ("class UserService(Base):", "UserService"), ("def login(self, name: str) -> bool:", "login"),
        ("async def login", "login"), ("self.login(name)", "login"), ("def self.login", "login"),
        ("class Foo < Base", "Foo"), ("empty?", "empty?"), ("save!", "save!"),
        ("Shop.Cart.total/1", "Shop Cart total"),
        ("defmodule Shop.Cart do", "Shop Cart"),
        ("py/users.py:UserService.login", "py users py UserService login"), ("@dataclass class User", "User"),
        ("from acme.users import User", "acme users User"), ("attr_reader :total", "total"),
        # JavaScript, TypeScript, PHP
        ("export default function checkout(cart: ICart): string {", "checkout"), ("this.login", "login"),
        ("const checkout = (cart) => {", "checkout"), ("Cart.prototype.add", "Cart add"),
        ("$this->login()", "login"),
        ("interface ICart { total(): number }", "ICart"), ("\\App\\Models\\User", "App Models User"),
        ("User::class", "User"), ("getCart().total()", "getCart total"), ("cart?.total", "cart total"),
        ("await cart!.total()", "cart total"), ("get total(): number", "total"),
        # Rust, SQL, Haskell, Lisp
        ("pub(crate) fn parse<T>(x: T) -> R", "parse"), ("impl<T> Display for Money<T> {", "Money"),
        ("<Money as Display>::fmt", "Money fmt"), ("Vec::<u8>::new", "Vec new"), ("println!", "println!"),
        ("CREATE OR REPLACE FUNCTION shop.total(x int)", "shop total"), ("[dbo].[GetOrders]", "dbo GetOrders"),
        ("foldr :: (a -> b) -> c", "foldr"), ("(defn total [x] x)", "total"),
        ("(define (square x)", "square"), ("r#type", "type"), ("data Maybe a = Nothing | Just a", "Maybe"),
        ("rpc GetOrder(GetOrderRequest)", "GetOrder"),
    ],
    ids=lambda value: value,
)  # fmt: skip
def test_a_name_is_read_as_its_language_writes_it(written: str, parts: str) -> None:
    assert SymbolName.of(written).parts == tuple(parts.split(" "))


@pytest.mark.parametrize(
    ("written", "kind"),
    [("class X", Kind.CLASS), ("def x", Kind.FUNCTION), ("enum class X", Kind.ENUM), ("trait X", Kind.INTERFACE),
     ("static const x = 1", Kind.CONSTANT), ("struct X", Kind.STRUCT), ("macro_rules! x", Kind.MACRO)],
)  # fmt: skip
def test_a_keyword_asks_for_its_kind(written: str, kind: Kind) -> None:
    assert kind in SymbolName.of(written).kinds


@pytest.mark.parametrize(
    "written", ["how to parse json", "user service", "what does x(y) do", "x == y", "?", "()"]
)
def test_a_question_is_refused_with_the_mode_that_takes_it(written: str) -> None:
    with pytest.raises(UserError, match="mode=symbol looks up one name") as error:
        SymbolName.of(written)
    assert error.value.repair == {"mode": "auto"}


@given(st.text(max_size=40))
def test_whatever_is_written_is_read_or_refused(written: str) -> None:
    with contextlib.suppress(UserError):
        assert all(SymbolName.of(written).parts)


def definition(symbol: str, path: str = "src/a.py") -> DefinitionRow:
    return DefinitionRow(1, 1, path, "python", 1, 2, symbol, "method", "")


@pytest.mark.parametrize(
    ("written", "candidates", "best", "is_noted"),
    [
        ("Server.Serve", ["Server.Serve", "Proxy.Serve"], ["Server.Serve"], False),
        ("com.acme.UserService.login", ["UserService.login", "AdminService.login"], ["UserService.login"], False),
        ("Serve", ["Server.Serve", "serve"], ["Server.Serve"], False),
        ("Client.Serve", ["Server.Serve", "Proxy.Serve"], ["Server.Serve", "Proxy.Serve"], True),
        ("SERVE", ["Server.Serve"], ["Server.Serve"], True),
        ("shop::Bag<int>::push_back", ["shop.Bag<T>.push_back", "push_back"], ["shop.Bag<T>.push_back"], False),
        ("Serve", [], [], False),
    ],
)
def test_the_best_definitions_of_a_name(
    written: str, candidates: list[str], best: list[str], is_noted: bool
) -> None:
    found, note = best_definitions(SymbolName.of(written), [definition(symbol) for symbol in candidates])
    assert ([d.symbol for d in found], note is not None) == (best, is_noted)


def test_a_module_in_front_of_a_name_is_found_in_the_path() -> None:
    other = definition("retry", "py/other.py")
    found, note = best_definitions(SymbolName.of("retry.retry"), [other, definition("retry", "py/retry.py")])
    assert ([d.path for d in found], note) == (["py/retry.py"], None)
