// ast.hpp — a parsed template: statements and expressions, as plain data.
//
// Names follow Jinja's own. Immutable once parsed, so that many renderings may share it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "engine/text/jinja/value.hpp"

namespace tessera::jinja {

struct Expression;
using ExpressionPtr = std::unique_ptr<const Expression>;

struct CallArguments {
  std::vector<ExpressionPtr> positional = {};
  std::vector<std::pair<std::string, ExpressionPtr>> named = {};
  ExpressionPtr star = nullptr;         // *args
  ExpressionPtr double_star = nullptr;  // **kwargs
};

struct Literal {
  Value value;
};
struct Name {
  std::string name;
};
struct SequenceDisplay {  // [a, b] or (a, b)
  bool is_tuple;
  std::vector<ExpressionPtr> items;
};
struct DictDisplay {
  std::vector<std::pair<ExpressionPtr, ExpressionPtr>> items;
};
enum class UnaryOperator : std::uint8_t { kNegative, kPositive, kNot };
struct Unary {
  UnaryOperator op;
  ExpressionPtr operand;
};
enum class BinaryOperator : std::uint8_t {
  kAdd,
  kSubtract,
  kMultiply,
  kDivide,
  kFloorDivide,
  kModulo,
  kPower
};
struct Binary {
  BinaryOperator op;
  ExpressionPtr left;
  ExpressionPtr right;
};
struct Logical {  // and, or
  bool is_and;
  ExpressionPtr left;
  ExpressionPtr right;
};
enum class Comparison : std::uint8_t {
  kEqual,
  kNotEqual,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kIn,
  kNotIn
};
struct Compare {  // a < b < c holds if each pair does
  ExpressionPtr first;
  std::vector<std::pair<Comparison, ExpressionPtr>> rest;
};
struct Concat {  // a ~ b
  std::vector<ExpressionPtr> parts;
};
struct Conditional {  // a if test else b
  ExpressionPtr test;
  ExpressionPtr then;
  ExpressionPtr otherwise;  // may be null
};
struct Attribute {  // object.name
  ExpressionPtr object;
  std::string name;
};
struct Item {  // object[index]
  ExpressionPtr object;
  ExpressionPtr index;
};
struct Slice {  // object[start:stop:step]; each may be null
  ExpressionPtr object;
  ExpressionPtr start;
  ExpressionPtr stop;
  ExpressionPtr step;
};
struct Call {
  ExpressionPtr callee;
  CallArguments arguments;
};
struct Filter {
  ExpressionPtr input;  // null: the text of the enclosing block
  std::string name;
  CallArguments arguments;
};
struct Test {
  ExpressionPtr input;
  std::string name;
  CallArguments arguments;
};

struct Expression {
  int line;
  std::variant<Literal, Name, SequenceDisplay, DictDisplay, Unary, Binary, Logical, Compare, Concat,
               Conditional, Attribute, Item, Slice, Call, Filter, Test>
      form;
};

// Where an assignment goes: a name, a member of a namespace, or several of these.
struct Target {
  std::string name;
  std::string member = {};         // not empty: of the namespace `name`
  std::vector<Target> parts = {};  // not empty: a tuple, and the above are not used
  bool is_tuple = false;
};

struct Statement;
using Block = std::vector<Statement>;

struct Signature {  // of a macro, or of the caller that a call block defines
  std::string name;
  std::vector<std::string> parameters = {};
  std::vector<ExpressionPtr> defaults = {};  // of the last parameters
  bool uses_varargs = false;
  bool uses_kwargs = false;
  bool uses_caller = false;
};

struct Data {
  std::string text;
};
struct Print {
  ExpressionPtr value;
};
struct If {
  std::vector<std::pair<ExpressionPtr, Block>> branches;
  Block otherwise;
};
struct For {
  Target target;
  ExpressionPtr iterable;
  ExpressionPtr condition;  // may be null
  Block body;
  Block otherwise;
};
struct Set {
  Target target;
  ExpressionPtr value;
};
struct SetBlock {
  Target target;
  ExpressionPtr filter;  // applied to the text; may be null
  Block body;
};
struct MacroDefinition {
  Signature signature;
  Block body;
};
struct CallBlock {
  Signature signature;
  ExpressionPtr call;
  Block body;
};
struct FilterBlock {
  ExpressionPtr filter;
  Block body;
};
struct With {
  std::vector<std::pair<Target, ExpressionPtr>> values;
  Block body;
};
struct Generation {  // marks what the assistant says; renders as its body
  Block body;
};
struct Break {};
struct Continue {};

struct Statement {
  int line;
  std::variant<Data, Print, If, For, Set, SetBlock, MacroDefinition, CallBlock, FilterBlock, With,
               Generation, Break, Continue>
      form;
};

// What ChatTemplate holds.
struct Template {
  Block body;
};

}  // namespace tessera::jinja
