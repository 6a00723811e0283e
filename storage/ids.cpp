#include "storage/ids.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <system_error>

#include <sys/random.h>

namespace tessera {

namespace {

void from_kernel(unsigned char* next, std::size_t count) {
  while (count > 0) {
    const ssize_t got = ::getrandom(next, count, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw std::system_error(errno, std::generic_category(), "getrandom");
    next += got;
    count -= static_cast<std::size_t>(got);
  }
}

// What the kernel gave a thread ahead: ids and seeds, of which every request has some, then cost no
// system call each. What was taken is not kept.
struct Ahead {
  std::array<unsigned char, 256> bytes;  // the kernel gives as many without a break
  std::size_t num_left = 0;

  void take(unsigned char* out, std::size_t count) {
    if (num_left < count) {
      from_kernel(bytes.data(), bytes.size());
      num_left = bytes.size();
    }
    unsigned char* const from = bytes.data() + (num_left - count);
    std::memcpy(out, from, count);
    std::memset(from, 0, count);
    num_left -= count;
  }
};

constexpr std::size_t kMostFromAhead = 16;

}  // namespace

// Longer ones, keys' secrets among them, come from the kernel as they are asked for.
void random_bytes(void* out, std::size_t count) {
  thread_local Ahead ahead;
  auto* const bytes = static_cast<unsigned char*>(out);
  if (count > kMostFromAhead) return from_kernel(bytes, count);
  ahead.take(bytes, count);
}

std::string random_base62(int count) {
  constexpr std::string_view kDigits =
      "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  constexpr unsigned kFair = 256 / 62 * 62;  // bytes from here on would favour the first digits
  const auto size = static_cast<std::size_t>(count);
  std::string text;
  while (text.size() < size) {
    std::array<std::uint8_t, 64> bytes{};
    random_bytes(bytes.data(), bytes.size());
    for (const std::uint8_t byte : bytes) {
      if (byte < kFair && text.size() < size) text.push_back(kDigits[byte % 62]);
    }
  }
  return text;
}

namespace {

constexpr std::string_view kUlidDigits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";  // Crockford's

constexpr std::array<std::int8_t, 256> ulid_values() {
  std::array<std::int8_t, 256> values{};
  values.fill(-1);
  for (std::size_t i = 0; i < kUlidDigits.size(); ++i) {
    values[static_cast<std::uint8_t>(kUlidDigits[i])] = static_cast<std::int8_t>(i);
  }
  return values;
}

// Of a digit; -1 if it is none.
int ulid_value(char digit) {
  static constexpr auto kValues = ulid_values();
  return kValues[static_cast<std::uint8_t>(digit)];
}

}  // namespace

std::string new_ulid(WallTime now) {
  const auto millis =
      std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count();
  std::string text(26, '0');
  for (std::size_t i = 0; i < 10; ++i) {
    text[i] = kUlidDigits[static_cast<std::uint64_t>(millis) >> (45 - 5 * i) & 31];
  }
  std::array<std::uint8_t, 16> random{};
  random_bytes(random.data(), random.size());
  for (std::size_t i = 0; i < random.size(); ++i) text[10 + i] = kUlidDigits[random[i] & 31];
  return text;
}

std::optional<WallTime> ulid_time(std::string_view text) {
  const auto is_digit = [](char c) { return ulid_value(c) >= 0; };
  if (text.size() != 26 || !std::ranges::all_of(text, is_digit)) return std::nullopt;
  std::int64_t millis = 0;
  for (const char digit : text.substr(0, 10)) {
    millis = millis << 5 | ulid_value(digit);
  }
  if (millis >= std::int64_t{1} << 43) return std::nullopt;  // the year 2248: none of ours
  return WallTime(std::chrono::milliseconds(millis));
}

}  // namespace tessera
