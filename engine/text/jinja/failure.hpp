// failure.hpp — how the interpreter gives up.
//
// Inside engine/text/jinja/ a failure is an exception: it may arise in any node of an expression,
// and every one of them would otherwise have to pass it on. It never leaves the folder;
// chat_template.cpp turns it into an Error.
#pragma once

#include <exception>
#include <string>
#include <utility>

namespace tessera::jinja {

class Failure : public std::exception {
 public:
  enum class Kind : unsigned char {
    kSyntax,  // the source is not a template we can run
    kRaised,  // the template called raise_exception; the message is its own
    kData,    // what Python would raise: a wrong type, an undefined value used
    kLimit,   // steps, output or depth
  };

  Failure(Kind kind, std::string message) : kind_(kind), message_(std::move(message)) {}

  Kind kind() const { return kind_; }
  const char* what() const noexcept override { return message_.c_str(); }

 private:
  Kind kind_;
  std::string message_;
};

[[noreturn]] inline void fail(std::string message) {
  throw Failure(Failure::Kind::kData, std::move(message));
}

}  // namespace tessera::jinja
