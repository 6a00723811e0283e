#include "engine/text/jinja/evaluator.hpp"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "engine/text/jinja/builtins.hpp"
#include "engine/text/jinja/operators.hpp"
#include "engine/text/jinja/python_format.hpp"

namespace tessera::jinja {
namespace {

using ScopePtr = std::shared_ptr<Scope>;

// What a statement leaves the enclosing loop to do.
enum class Flow : unsigned char { kNext, kBreak, kContinue };

// Evaluates expressions and runs statements in a scope, writing to `out_`. A macro's body runs in
// an evaluator of its own.
class Evaluator {
 public:
  Evaluator(Runtime& runtime, ScopePtr scope) : runtime_(runtime), scope_(std::move(scope)) {}

  Flow run(const Block& block);
  std::string take_output() { return std::move(out_); }

 private:
  // A scope for the length of a block.
  class Inner {
   public:
    explicit Inner(Evaluator& evaluator) : evaluator_(evaluator), outer_(evaluator.scope_) {
      evaluator_.scope_ = evaluator_.runtime_.make_scope(outer_);
    }
    ~Inner() { evaluator_.scope_ = outer_; }
    Inner(const Inner&) = delete;
    Inner& operator=(const Inner&) = delete;

   private:
    Evaluator& evaluator_;
    ScopePtr outer_;
  };

  Flow execute(const Data& data);
  Flow execute(const Print& print);
  Flow execute(const If& statement);
  Flow execute(const For& loop);
  Flow execute(const Set& set);
  Flow execute(const SetBlock& set);
  Flow execute(const MacroDefinition& macro);
  Flow execute(const CallBlock& block);
  Flow execute(const FilterBlock& block);
  Flow execute(const With& with);
  Flow execute(const Generation& block);
  Flow execute(const Break&) { return Flow::kBreak; }
  Flow execute(const Continue&) { return Flow::kContinue; }

  Value evaluate(const ExpressionPtr& expression);
  Value evaluate_or_none(const ExpressionPtr& expression);
  Value evaluate(const Literal& literal) { return literal.value; }
  Value evaluate(const Name& name);
  Value evaluate(const SequenceDisplay& display);
  Value evaluate(const DictDisplay& display);
  Value evaluate(const Unary& node) { return unary(node.op, evaluate(node.operand)); }
  Value evaluate(const Binary& node);
  Value evaluate(const Logical& node);
  Value evaluate(const Compare& node);
  Value evaluate(const Concat& node);
  Value evaluate(const Conditional& node);
  Value evaluate(const Attribute& node);
  Value evaluate(const Item& node);
  Value evaluate(const Slice& node);
  Value evaluate(const Call& node);
  Value evaluate(const Filter& node) { return apply(node, evaluate(node.input)); }
  Value evaluate(const Test& node);

  Arguments arguments(const CallArguments& node);
  Value apply(const Filter& filter, const Value& input);
  Value apply_chain(const ExpressionPtr& filter, std::string text);
  std::string text_of(const Block& body);
  void write(std::string_view text);
  void assign(const Target& target, const Value& value);
  std::vector<Value> loop_items(const For& loop);

  // A macro, or a call block's caller, that runs `body` in a scope inside the current one.
  Value make_macro(const Signature& signature, const Block& body);
  static void bind(Evaluator& inside, const Signature& signature, Arguments arguments);
  static void bind_extra(Evaluator& inside, const Signature& signature, Arguments& arguments);

  Runtime& runtime_;
  ScopePtr scope_;
  std::string out_;
};

Flow Evaluator::run(const Block& block) {
  const Runtime::Frame frame(runtime_);
  for (const Statement& statement : block) {
    runtime_.spend();
    const Flow flow =
        std::visit([this](const auto& form) { return execute(form); }, statement.form);
    if (flow != Flow::kNext) return flow;
  }
  return Flow::kNext;
}

void Evaluator::write(std::string_view text) {
  runtime_.check_size(out_.size() + text.size());
  out_ += text;
}

Flow Evaluator::execute(const Data& data) {
  write(data.text);
  return Flow::kNext;
}

Flow Evaluator::execute(const Print& print) {
  const Value value = evaluate(print.value);
  if (const std::string* text = value.string()) {
    write(*text);
  } else {
    write(to_str(value));
  }
  return Flow::kNext;
}

Flow Evaluator::execute(const If& statement) {
  for (const auto& [test, body] : statement.branches) {
    if (is_true(evaluate(test))) return run(body);
  }
  return run(statement.otherwise);
}

// The items to visit; a condition on the loop is decided before the loop begins.
std::vector<Value> Evaluator::loop_items(const For& loop) {
  std::vector<Value> all = iterate(evaluate(loop.iterable));
  runtime_.spend(all.size());
  if (!loop.condition) return all;
  std::vector<Value> chosen;
  for (Value& item : all) {
    const Inner inner(*this);
    assign(loop.target, item);
    if (is_true(evaluate(loop.condition))) chosen.push_back(std::move(item));
  }
  return chosen;
}

Flow Evaluator::execute(const For& loop) {
  auto state = std::make_shared<Loop>();
  state->items = loop_items(loop);
  for (std::size_t i = 0; i < state->items.size(); ++i) {
    runtime_.spend();
    state->index = i;
    const Inner inner(*this);
    assign(loop.target, state->items[i]);
    scope_->set("loop", Value(state));
    if (run(loop.body) == Flow::kBreak) break;
  }
  if (state->items.empty()) {
    const Inner inner(*this);
    return run(loop.otherwise);
  }
  return Flow::kNext;
}

Flow Evaluator::execute(const Set& set) {
  assign(set.target, evaluate(set.value));
  return Flow::kNext;
}

Flow Evaluator::execute(const SetBlock& set) {
  assign(set.target, apply_chain(set.filter, text_of(set.body)));
  return Flow::kNext;
}

Flow Evaluator::execute(const MacroDefinition& macro) {
  scope_->set(macro.signature.name, make_macro(macro.signature, macro.body));
  return Flow::kNext;
}

Flow Evaluator::execute(const CallBlock& block) {
  const Call& node = std::get<Call>(block.call->form);
  const Value callee = evaluate(node.callee);
  Arguments given = arguments(node.arguments);
  given.named.emplace_back("caller", make_macro(block.signature, block.body));
  write(to_str(call(runtime_, callee, std::move(given))));
  return Flow::kNext;
}

Flow Evaluator::execute(const FilterBlock& block) {
  write(to_str(apply_chain(block.filter, text_of(block.body))));
  return Flow::kNext;
}

Flow Evaluator::execute(const With& with) {
  std::vector<Value> values;
  for (const auto& [target, value] : with.values) values.push_back(evaluate(value));
  const Inner inner(*this);
  for (std::size_t i = 0; i < values.size(); ++i) assign(with.values[i].first, values[i]);
  return run(with.body);
}

Flow Evaluator::execute(const Generation& block) {
  const Inner inner(*this);
  return run(block.body);
}

std::string Evaluator::text_of(const Block& body) {
  const Inner inner(*this);
  std::string outer = std::exchange(out_, {});
  run(body);
  return std::exchange(out_, std::move(outer));
}

void Evaluator::assign(const Target& target, const Value& value) {
  if (target.is_tuple) {
    const std::vector<Value> parts = iterate(value);
    if (parts.size() != target.parts.size()) {
      fail("expected " + std::to_string(target.parts.size()) + " values to unpack, got " +
           std::to_string(parts.size()));
    }
    for (std::size_t i = 0; i < parts.size(); ++i) assign(target.parts[i], parts[i]);
  } else if (target.member.empty()) {
    scope_->set(target.name, value);
  } else {
    const Value* held = scope_->find(target.name);
    Namespace* ns = held ? held->name_space() : nullptr;
    if (!ns) fail("cannot assign attribute on non-namespace object");
    if (target.member.starts_with('_'))
      fail("a namespace's names must not begin with an underscore");
    ns->set(target.member, value);
  }
}

Value Evaluator::evaluate(const ExpressionPtr& expression) {
  const Runtime::Frame frame(runtime_);
  runtime_.spend();
  return std::visit([this](const auto& form) { return evaluate(form); }, expression->form);
}

Value Evaluator::evaluate_or_none(const ExpressionPtr& expression) {
  return expression ? evaluate(expression) : Value(None{});
}

Value Evaluator::evaluate(const Name& name) {
  const Value* found = scope_->find(name.name);
  return found ? *found : Value::undefined("'" + name.name + "' is undefined");
}

Value Evaluator::evaluate(const SequenceDisplay& display) {
  std::vector<Value> items;
  for (const ExpressionPtr& item : display.items) items.push_back(evaluate(item));
  return display.is_tuple ? Value::tuple(std::move(items)) : Value::list(std::move(items));
}

Value Evaluator::evaluate(const DictDisplay& display) {
  auto dict = std::make_shared<Dict>();
  for (const auto& [key, value] : display.items) {
    Value key_value = evaluate(key);
    dict->set(std::move(key_value), evaluate(value));
  }
  return std::shared_ptr<const Dict>(std::move(dict));
}

Value Evaluator::evaluate(const Binary& node) {
  const Value left = evaluate(node.left);
  return binary(runtime_, node.op, left, evaluate(node.right));
}

Value Evaluator::evaluate(const Logical& node) {
  Value left = evaluate(node.left);
  return is_true(left) == node.is_and ? evaluate(node.right) : left;
}

Value Evaluator::evaluate(const Compare& node) {
  Value left = evaluate(node.first);
  for (const auto& [op, operand] : node.rest) {
    Value right = evaluate(operand);
    if (!compare(op, left, right)) return false;
    left = std::move(right);
  }
  return true;
}

Value Evaluator::evaluate(const Concat& node) {
  std::string out;
  for (const ExpressionPtr& part : node.parts) {
    out += to_str(evaluate(part));
    runtime_.check_size(out.size());
  }
  runtime_.spend_bytes(out.size());
  return out;
}

Value Evaluator::evaluate(const Conditional& node) {
  if (is_true(evaluate(node.test))) return evaluate(node.then);
  if (node.otherwise) return evaluate(node.otherwise);
  return Value::undefined(
      "the inline if-expression evaluated to false and no else section was defined");
}

Value Evaluator::evaluate(const Attribute& node) {
  return get_attribute(runtime_, evaluate(node.object), node.name);
}

Value Evaluator::evaluate(const Item& node) {
  const Value object = evaluate(node.object);
  return get_item(runtime_, object, evaluate(node.index));
}

Value Evaluator::evaluate(const Slice& node) {
  const Value object = evaluate(node.object);
  const Value start = evaluate_or_none(node.start);
  const Value stop = evaluate_or_none(node.stop);
  return get_slice(runtime_, object, start, stop, evaluate_or_none(node.step));
}

Value Evaluator::evaluate(const Call& node) {
  const Value callee = evaluate(node.callee);
  return call(runtime_, callee, arguments(node.arguments));
}

Value Evaluator::evaluate(const Test& node) {
  const TestFunction test = test_named(node.name);
  const Value input = evaluate(node.input);
  return test(runtime_, input, arguments(node.arguments));
}

Arguments Evaluator::arguments(const CallArguments& node) {
  Arguments out;
  for (const ExpressionPtr& argument : node.positional)
    out.positional.push_back(evaluate(argument));
  if (node.star) {
    for (Value& argument : iterate(evaluate(node.star)))
      out.positional.push_back(std::move(argument));
  }
  for (const auto& [name, argument] : node.named) out.named.emplace_back(name, evaluate(argument));
  if (node.double_star) {
    const Value more = evaluate(node.double_star);
    if (!more.dict()) fail("argument after ** must be a mapping");
    for (const auto& [key, value] : more.dict()->items()) {
      if (!key.string()) fail("keywords must be strings");
      out.named.emplace_back(*key.string(), value);
    }
  }
  return out;
}

Value Evaluator::apply(const Filter& filter, const Value& input) {
  return filter_named(filter.name)(runtime_, input, arguments(filter.arguments));
}

// The filters of a block, innermost first; the innermost has no input but the block's text.
Value Evaluator::apply_chain(const ExpressionPtr& filter, std::string text) {
  if (!filter) return Value(std::move(text));
  const Filter& node = std::get<Filter>(filter->form);
  return apply(node, apply_chain(node.input, std::move(text)));
}

Value Evaluator::make_macro(const Signature& signature, const Block& body) {
  runtime_.keep(scope_);
  return make_callable(
      signature.name,
      [scope = scope_, &signature, &body](Runtime& runtime, Arguments given) -> Value {
        Evaluator inside(runtime, runtime.make_scope(scope));
        bind(inside, signature, std::move(given));
        inside.run(body);
        return inside.take_output();
      });
}

void Evaluator::bind(Evaluator& inside, const Signature& signature, Arguments given) {
  const std::size_t num_parameters = signature.parameters.size();
  const std::size_t first_default = num_parameters - signature.defaults.size();
  for (std::size_t i = 0; i < num_parameters; ++i) {
    const std::string& name = signature.parameters[i];
    const auto named =
        std::find_if(given.named.begin(), given.named.end(),
                     [&name](const auto& argument) { return argument.first == name; });
    Value value = Value::undefined("parameter '" + name + "' was not provided");
    if (i < given.positional.size()) {
      value = given.positional[i];
    } else if (named != given.named.end()) {
      value = named->second;
      given.named.erase(named);
    } else if (i >= first_default) {
      value = inside.evaluate(signature.defaults[i - first_default]);
    }
    inside.scope_->set(name, std::move(value));
  }
  const auto extra_from =
      static_cast<std::ptrdiff_t>(std::min(num_parameters, given.positional.size()));
  given.positional.erase(given.positional.begin(), given.positional.begin() + extra_from);
  bind_extra(inside, signature, given);
}

// What is left over goes to varargs, kwargs and caller, where the body mentions them; else it is a
// mistake.
void Evaluator::bind_extra(Evaluator& inside, const Signature& signature, Arguments& given) {
  Scope& scope = *inside.scope_;
  const auto caller = std::find_if(given.named.begin(), given.named.end(),
                                   [](const auto& named) { return named.first == "caller"; });
  if (signature.uses_caller) {
    const bool is_given = caller != given.named.end();
    scope.set("caller", is_given ? caller->second : Value::undefined("No caller defined"));
    if (is_given) given.named.erase(caller);
  }
  if (signature.uses_kwargs) {
    auto kwargs = std::make_shared<Dict>();
    for (auto& [name, value] : given.named) kwargs->set(Value(name), std::move(value));
    scope.set("kwargs", std::shared_ptr<const Dict>(std::move(kwargs)));
  } else if (!given.named.empty()) {
    fail("macro '" + signature.name + "' takes no keyword argument '" + given.named.front().first +
         "'");
  }
  if (signature.uses_varargs) {
    scope.set("varargs", Value::tuple(std::move(given.positional)));
  } else if (!given.positional.empty()) {
    fail("macro '" + signature.name + "' takes not more than " +
         std::to_string(signature.parameters.size()) + " argument(s)");
  }
}

}  // namespace

std::string render(const Template& parsed, const Value& variables, Runtime& runtime) {
  constexpr std::size_t kUsualGlobals = 24;  // with the variables
  const ScopePtr globals = runtime.make_scope(nullptr);
  globals->variables.reserve(kUsualGlobals);
  add_globals(*globals);
  for (const auto& [name, value] : variables.dict()->items()) globals->set(*name.string(), value);
  Evaluator evaluator(runtime, runtime.make_scope(globals));
  evaluator.run(parsed.body);
  return evaluator.take_output();
}

}  // namespace tessera::jinja
