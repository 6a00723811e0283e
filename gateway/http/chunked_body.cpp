#include "gateway/http/chunked_body.hpp"

#include <algorithm>

#include "gateway/config.hpp"
#include "gateway/http/http.hpp"

namespace tessera {
namespace {

constexpr int kMaxSizeDigits = 16;  // what 64 bits hold

bool is_control(char c) {
  return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7F;
}

// A field that may stand in a trailer: well formed, and silent about where a message ends.
bool is_trailer_field(std::string_view line) {
  const std::size_t colon = line.find(':');
  if (colon == std::string_view::npos || !is_token(line.substr(0, colon))) return false;
  const std::string name = to_lower(line.substr(0, colon));
  return name != "content-length" && name != "transfer-encoding" && name != "host";
}

}  // namespace

Result<std::size_t> ChunkedBody::feed(std::string_view bytes, std::string& body) {
  if (state_ == State::kTooLarge) state_ = State::kMalformed;  // it has been told
  std::size_t used = 0;
  while (used < bytes.size() && state_ < State::kDone) {
    if (state_ == State::kData) {
      const auto count =
          static_cast<std::size_t>(std::min<std::uint64_t>(size_, bytes.size() - used));
      body.append(bytes.substr(used, count));
      used += count;
      taken_ += count;
      size_ -= count;
      if (size_ == 0) state_ = State::kDataCr;
    } else {
      state_ = after(bytes[used++]);
    }
  }
  if (state_ == State::kMalformed) return Error{Code::kInvalidValue, "Malformed HTTP request."};
  if (state_ != State::kTooLarge) return used;
  return Error{Code::kPayloadTooLarge, "The request's body is larger than allowed here."};
}

ChunkedBody::State ChunkedBody::after(char c) {
  switch (state_) {
    case State::kSize:
      return after_size(c);
    case State::kExtension:
      if (c == '\r') return State::kSizeLf;
      return count_dropped(c) ? State::kExtension : State::kMalformed;
    case State::kSizeLf:
      return c == '\n' ? after_size_line() : State::kMalformed;
    case State::kDataCr:
      return c == '\r' ? State::kDataLf : State::kMalformed;
    case State::kDataLf:
      size_ = 0;
      num_digits_ = 0;
      return c == '\n' ? State::kSize : State::kMalformed;
    case State::kTrailer:
      if (c == '\r') return State::kTrailerLf;
      line_ += c;
      return count_dropped(c) ? State::kTrailer : State::kMalformed;
    case State::kTrailerLf:
      return c == '\n' ? after_trailer_line() : State::kMalformed;
    default:
      return State::kMalformed;
  }
}

ChunkedBody::State ChunkedBody::after_size(char c) {
  const int digit = hex_value(c);
  if (digit >= 0) {
    size_ = size_ << 4 | static_cast<std::uint64_t>(digit);
    return ++num_digits_ <= kMaxSizeDigits ? State::kSize : State::kMalformed;
  }
  if (num_digits_ == 0) return State::kMalformed;
  if (c == '\r') return State::kSizeLf;
  return c == ';' && count_dropped(c) ? State::kExtension : State::kMalformed;
}

ChunkedBody::State ChunkedBody::after_size_line() const {
  if (size_ == 0) return State::kTrailer;
  return size_ > limit_ - std::min(limit_, taken_) ? State::kTooLarge : State::kData;
}

ChunkedBody::State ChunkedBody::after_trailer_line() {
  if (line_.empty()) return State::kDone;
  const bool good = is_trailer_field(line_);
  line_.clear();
  return good ? State::kTrailer : State::kMalformed;
}

// False if `c` may not stand in what is dropped, or is one too many.
bool ChunkedBody::count_dropped(char c) {
  return !is_control(c) && ++num_dropped_ <= kMaxDroppedChunkBytes;
}

}  // namespace tessera
