#include "gateway/http/multipart.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include "gateway/config.hpp"
#include "gateway/http/http.hpp"

namespace tessera {
namespace {

Error malformed(std::string_view why) {
  return {Code::kInvalidValue, "Malformed multipart body: " + std::string(why) + "."};
}

// The parameters of a header value such as `form-data; name="a"; filename="b"`. A quoted string
// may escape a quote or a backslash with a backslash. nullopt if it is not of that form.
std::optional<Headers> parse_parameters(std::string_view value) {
  Headers parameters;
  for (std::size_t at = value.find(';'); at < value.size();) {
    const std::size_t equals = value.find('=', at);
    if (equals == std::string_view::npos) return std::nullopt;
    std::string name = to_lower(trim(value.substr(at + 1, equals - at - 1)));
    std::string text;
    at = equals + 1;
    if (at < value.size() && value[at] == '"') {
      for (++at; at < value.size() && value[at] != '"'; ++at) {
        if (value[at] == '\\' && at + 1 < value.size()) ++at;
        text += value[at];
      }
      if (at++ >= value.size()) return std::nullopt;  // no closing quote
      at = std::min(value.find_first_not_of(" \t", at), value.size());
      if (at < value.size() && value[at] != ';') return std::nullopt;
    } else {
      const std::size_t end = std::min(value.find(';', at), value.size());
      text = trim(value.substr(at, end - at));
      at = end;
    }
    parameters.emplace_back(std::move(name), std::move(text));
  }
  return parameters;
}

Result<std::string> boundary_of(std::string_view content_type) {
  const Error wrong{Code::kUnsupportedMediaType,
                    "Content-Type must be multipart/form-data with a boundary."};
  if (media_type(content_type) != "multipart/form-data") return wrong;
  const auto parameters = parse_parameters(content_type);
  if (!parameters) return wrong;
  const std::string_view boundary = header(*parameters, "boundary");
  if (boundary.empty() || boundary.size() > kMaxBoundaryChars) return wrong;
  return std::string(boundary);
}

// Reads a part's head, its empty line excluded.
Result<PartHead> parse_part_head(std::string_view head) {
  PartHead part;
  while (!head.empty()) {
    const std::size_t end = std::min(head.find("\r\n"), head.size());
    const std::string_view line = head.substr(0, end);
    head.remove_prefix(std::min(end + 2, head.size()));
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos) return malformed("a part's header line has no colon");
    const std::string name = to_lower(trim(line.substr(0, colon)));
    const std::string_view value = trim(line.substr(colon + 1));
    if (name == "content-type") part.content_type = media_type(value);
    if (name != "content-disposition") continue;
    const auto parameters = parse_parameters(value);
    if (!parameters || media_type(value) != "form-data") {
      return malformed("a part's Content-Disposition is not form-data");
    }
    part.name = header(*parameters, "name");
    part.filename = header(*parameters, "filename");
  }
  if (part.name.empty()) return malformed("a part has no name");
  return part;
}

}  // namespace

Result<MultipartReader> MultipartReader::make(std::string_view content_type) {
  auto boundary = boundary_of(content_type);
  if (!boundary) return boundary.error();
  return MultipartReader(*std::move(boundary));
}

Result<void> MultipartReader::feed(std::string_view bytes, PartVisitor& visitor) {
  if (state_ == State::kFailed) return malformed("it was refused before its end");
  buffer_.append(bytes);
  for (bool going = true; going;) {
    const auto stepped = step(visitor);
    if (!stepped) {
      state_ = State::kFailed;
      return stepped.error();
    }
    going = *stepped;
  }
  buffer_.erase(0, used_);
  used_ = 0;
  return {};
}

Result<void> MultipartReader::finish() {
  switch (state_) {
    case State::kEpilogue:
      if (held().empty() || held() == "\r\n") return {};
      return malformed("bytes follow the last boundary");
    case State::kOpening:
      return malformed("it does not begin with its boundary");
    case State::kAfterDash:
      return malformed("a boundary is not the end of its line");
    case State::kHead:
      return malformed("a part's header has no end");
    case State::kContent:
      return malformed("a part has no closing boundary");
    case State::kFailed:
      break;
  }
  return malformed("it was refused before its end");
}

Result<bool> MultipartReader::step(PartVisitor& visitor) {
  switch (state_) {
    case State::kOpening:
      return read_opening();
    case State::kAfterDash:
      return read_after_dash();
    case State::kHead:
      return read_head(visitor);
    case State::kContent:
      return read_content(visitor);
    case State::kEpilogue:
      return read_epilogue();
    case State::kFailed:
      break;
  }
  return false;
}

Result<bool> MultipartReader::read_opening() {
  const std::string_view wanted = std::string_view(delimiter_).substr(2);
  const std::size_t there = std::min(wanted.size(), held().size());
  if (held().substr(0, there) != wanted.substr(0, there)) {
    return malformed("it does not begin with its boundary");
  }
  if (there < wanted.size()) return false;
  used_ += there;
  state_ = State::kAfterDash;
  return true;
}

Result<bool> MultipartReader::read_after_dash() {
  if (held().size() < 2) return false;
  const std::string_view next = held().substr(0, 2);
  if (next != "\r\n" && next != "--") return malformed("a boundary is not the end of its line");
  used_ += 2;
  if (next == "--") {
    state_ = State::kEpilogue;
    return true;
  }
  if (names_.size() == static_cast<std::size_t>(kMaxMultipartParts)) {
    return Error{Code::kRequestExceedsLimit, "The multipart body has too many parts."};
  }
  state_ = State::kHead;
  return true;
}

Result<bool> MultipartReader::read_head(PartVisitor& visitor) {
  const std::size_t end = held().substr(0, kMaxPartHeadBytes).find("\r\n\r\n");
  if (end == std::string_view::npos) {
    if (held().size() < kMaxPartHeadBytes) return false;
    return malformed("a part's header has no end");
  }
  auto part = parse_part_head(held().substr(0, end));
  if (!part) return part.error();
  if (std::ranges::find(names_, part->name) != names_.end()) {
    return malformed("the part `" + part->name + "` comes twice");
  }
  names_.push_back(part->name);
  used_ += end + 4;
  state_ = State::kContent;
  if (auto begun = visitor.begin_part(*std::move(part)); !begun) return begun.error();
  return true;
}

// Passes on all but what may be the beginning of the boundary.
Result<bool> MultipartReader::read_content(PartVisitor& visitor) {
  const std::size_t end = held().find(delimiter_);
  const bool ended = end != std::string_view::npos;
  const std::size_t kept = delimiter_.size() - 1;
  const std::size_t count = ended ? end : held().size() - std::min(kept, held().size());
  if (count > 0) {
    if (auto passed = visitor.part_content(held().substr(0, count)); !passed) {
      return passed.error();
    }
    used_ += count;
  }
  if (!ended) return false;
  used_ += delimiter_.size();
  state_ = State::kAfterDash;
  if (auto closed = visitor.end_part(); !closed) return closed.error();
  return true;
}

Result<bool> MultipartReader::read_epilogue() {
  if (held().size() <= 2) return false;
  return malformed("bytes follow the last boundary");
}

}  // namespace tessera
