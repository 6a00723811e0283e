// runtime.hpp — one rendering's budget and clock, and what must be let go at its end.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "engine/text/chat_template.hpp"
#include "engine/text/jinja/failure.hpp"
#include "engine/text/jinja/value.hpp"
#include "storage/clock.hpp"

namespace tessera::jinja {

// Variables of one block, seen from the blocks inside it.
struct Scope {
  std::shared_ptr<Scope> parent;
  std::vector<std::pair<std::string, Value>> variables = {};

  // In this scope or one around it; null if nowhere.
  const Value* find(std::string_view name) const;
  void set(const std::string& name, Value value);  // in this scope
};

// Not thread-safe: one per rendering. Passed to every builtin and macro.
class Runtime {
 public:
  Runtime(const TemplateLimits& limits, WallTime now) : limits_(limits), now_(now) {}
  // Namespaces can hold themselves and macros hold the scope that holds them; emptying them all
  // leaves nothing that keeps itself alive.
  ~Runtime();
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  WallTime now() const { return now_; }

  // Counts work done; fails (kLimit) when the budget is spent.
  void spend(std::size_t steps = 1) {
    steps_ += steps;
    if (steps_ > limits_.steps_max) limit("the template takes too many steps");
  }

  // Counts a string of that size that is made of others. The rate is a compromise: a template that
  // keeps appending to one text copies it each time, and a long conversation may well do so.
  void spend_bytes(std::size_t bytes) { spend(bytes / 256); }

  // Call before making a string of that size, or a sequence of that many items.
  void check_size(std::size_t bytes) const {
    if (bytes > limits_.output_bytes_max) limit("the template's output is too long");
  }

  std::shared_ptr<Namespace> make_namespace();
  std::shared_ptr<Scope> make_scope(std::shared_ptr<Scope> parent);
  // Remembers a scope that a macro refers to.
  void keep(std::shared_ptr<Scope> scope) { kept_scopes_.push_back(std::move(scope)); }

  // One node evaluated within another, through macros too; fails (kLimit) when they are too many.
  class Frame {
   public:
    explicit Frame(Runtime& runtime) : runtime_(runtime) {
      if (++runtime_.depth_ > runtime_.limits_.evaluation_depth_max) {
        --runtime_.depth_;
        limit("the template nests too deeply");
      }
    }
    ~Frame() { --runtime_.depth_; }
    Frame(const Frame&) = delete;
    Frame& operator=(const Frame&) = delete;

   private:
    Runtime& runtime_;
  };

 private:
  [[noreturn]] static void limit(const char* what) { throw Failure(Failure::Kind::kLimit, what); }

  TemplateLimits limits_;
  WallTime now_;
  std::size_t steps_ = 0;
  int depth_ = 0;
  std::vector<std::shared_ptr<Namespace>> namespaces_;
  std::vector<std::shared_ptr<Scope>> kept_scopes_;
};

// Calls a callable value; fails if it is none.
Value call(Runtime& runtime, const Value& callee, Arguments arguments);

}  // namespace tessera::jinja
