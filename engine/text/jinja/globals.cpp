#include <array>
#include <chrono>
#include <ctime>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/text/jinja/builtins.hpp"
#include "engine/text/jinja/python_format.hpp"

namespace tessera::jinja {
namespace {

constexpr std::int64_t kRangeMax = 100'000;  // as the sandbox

Value range(Runtime& runtime, Arguments arguments) {
  if (!arguments.named.empty() || arguments.positional.empty()) fail("range() needs numbers");
  const Bound bound("range", arguments, {"start", "stop", "step"});
  const bool one = arguments.positional.size() == 1;
  const std::int64_t start = one ? 0 : bound.integer(0, 0);
  const std::int64_t stop = one ? bound.integer(0, 0) : bound.integer(1, 0);
  const std::int64_t step = bound.integer(2, 1);
  if (step == 0) fail("range() arg 3 must not be zero");
  Sequence out{.form = Sequence::Form::kRange, .items = {}};
  for (std::int64_t at = start; step > 0 ? at < stop : at > stop;) {
    if (static_cast<std::int64_t>(out.items.size()) == kRangeMax) {
      fail("Range too big. The sandbox blocks ranges larger than MAX_RANGE (100000).");
    }
    out.items.emplace_back(at);
    if (__builtin_add_overflow(at, step, &at)) break;
  }
  runtime.spend(out.items.size());
  return std::make_shared<const Sequence>(std::move(out));
}

// The members that dict(...) and namespace(...) are given: of one mapping or list of pairs, then by
// name.
std::vector<std::pair<Value, Value>> members(const Arguments& arguments) {
  std::vector<std::pair<Value, Value>> out;
  if (arguments.positional.size() > 1) fail("expected at most 1 argument");
  if (!arguments.positional.empty()) {
    const Value& from = arguments.positional.front();
    if (const Dict* dict = from.dict()) {
      out = dict->items();
    } else {
      for (const Value& pair : iterate(from)) {
        std::vector<Value> parts = iterate(pair);
        if (parts.size() != 2) fail("dictionary update sequence needs pairs");
        out.emplace_back(std::move(parts[0]), std::move(parts[1]));
      }
    }
  }
  for (const auto& [name, value] : arguments.named) out.emplace_back(Value(name), value);
  return out;
}

Value dict(Runtime& runtime, Arguments arguments) {
  auto out = std::make_shared<Dict>();
  for (auto& [key, value] : members(arguments)) {
    runtime.spend();
    out->set(std::move(key), std::move(value));
  }
  return std::shared_ptr<const Dict>(std::move(out));
}

Value make_namespace(Runtime& runtime, Arguments arguments) {
  const std::shared_ptr<Namespace> ns = runtime.make_namespace();
  for (auto& [key, value] : members(arguments)) {
    runtime.spend();
    if (!key.string()) fail("a namespace's names must be str");
    if (key.string()->starts_with('_'))
      fail("a namespace's names must not begin with an underscore");
    ns->set(*key.string(), std::move(value));
  }
  return ns;
}

Value raise_exception(Runtime&, Arguments arguments) {
  const Bound bound("raise_exception", arguments, {"message"});
  throw Failure(Failure::Kind::kRaised, to_str(bound.required(0)));
}

// The time of the request, in UTC: a server's own time zone is nobody's business.
Value strftime_now(Runtime& runtime, Arguments arguments) {
  const auto format = Bound("strftime_now", arguments, {"format"}).text(0);
  if (!format) fail("strftime_now() needs a format");
  const std::time_t seconds =
      std::chrono::duration_cast<std::chrono::seconds>(runtime.now().time_since_epoch()).count();
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  std::array<char, 1024> buffer{};
  const std::size_t size = std::strftime(buffer.data(), buffer.size(), format->c_str(), &parts);
  return std::string(buffer.data(), size);
}

// joiner(sep): gives nothing the first time it is called and the separator from then on.
Value joiner(Runtime&, Arguments arguments) {
  const std::string separator = Bound("joiner", arguments, {"sep"}).text(0).value_or(", ");
  return make_callable(
      "joiner", [separator, used = std::make_shared<bool>(false)](Runtime&, Arguments) -> Value {
        return std::exchange(*used, true) ? separator : "";
      });
}

}  // namespace

// None of them has a state, so every rendering has the same ones.
void add_globals(Scope& scope) {
  static const std::vector<std::pair<std::string, Value>> kGlobals = {
      {"range", make_callable("range", range)},
      {"dict", make_callable("dict", dict)},
      {"namespace", make_callable("namespace", make_namespace)},
      {"joiner", make_callable("joiner", joiner)},
      {"raise_exception", make_callable("raise_exception", raise_exception)},
      {"strftime_now", make_callable("strftime_now", strftime_now)},
  };
  scope.variables.insert(scope.variables.end(), kGlobals.begin(), kGlobals.end());
}

}  // namespace tessera::jinja
