#include "tenancy/api_key.hpp"

#include <algorithm>
#include <cassert>
#include <charconv>
#include <span>

#include <openssl/crypto.h>
#include <sys/stat.h>

#include "storage/digest.hpp"
#include "storage/durable_file.hpp"

namespace tessera {
namespace {

constexpr std::size_t kIdChars = 12;
constexpr std::size_t kSecretChars = 43;  // 62^43 > 2^256
constexpr std::size_t kChecksumChars = 6;
constexpr std::string_view kBase62 =
    "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
constexpr std::size_t kMaxPepperFileBytes = std::size_t{64} << 10;

constexpr std::array<std::uint32_t, 256> crc32_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t byte = 0; byte < table.size(); ++byte) {
    std::uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ ((crc & 1) != 0 ? 0xEDB88320 : 0);
    table[byte] = crc;
  }
  return table;
}

// CRC-32 as in zlib and Ethernet (reflected 0x04C11DB7).
std::uint32_t crc32(std::string_view text) {
  static constexpr auto kTable = crc32_table();
  std::uint32_t crc = 0xFFFFFFFF;
  for (const char byte : text) {
    crc = crc >> 8 ^ kTable[(crc ^ static_cast<std::uint8_t>(byte)) & 0xFF];
  }
  return ~crc;
}

std::string checksum(std::string_view text) {
  std::uint32_t crc = crc32(text);
  std::string digits(kChecksumChars, '0');
  for (auto digit = digits.rbegin(); digit != digits.rend(); ++digit) {
    *digit = kBase62[crc % 62];
    crc /= 62;
  }
  return digits;
}

bool is_base62(std::string_view text) {
  return std::ranges::all_of(text, [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
  });
}

std::string prefix_of(KeyKind kind) {
  return "sk-" + std::string(to_string(kind)) + "-";
}

std::string without_checksum(const ApiKey& key) {
  return prefix_of(key.kind) + key.id.str() + "-" + key.secret;
}

// Takes one line off the front of `text`.
std::string_view take_line(std::string_view& text) {
  const auto end = std::min(text.find('\n'), text.size());
  const auto line = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return line;
}

std::string line_of(std::uint32_t version, const std::array<std::uint8_t, 32>& pepper) {
  return std::to_string(version) + ' ' + to_hex(pepper) + '\n';
}

Result<void> make_pepper_file(const std::filesystem::path& path) {
  std::array<std::uint8_t, 32> pepper{};
  random_bytes(pepper.data(), pepper.size());
  return write_file_durably(path, line_of(1, pepper), 0600);
}

bool is_private(const std::filesystem::path& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 && (status.st_mode & 077) == 0;
}

}  // namespace

std::string_view to_string(KeyKind kind) {
  switch (kind) {
    case KeyKind::kLive:
      return "live";
    case KeyKind::kTest:
      return "test";
    case KeyKind::kAdmin:
      return "admin";
  }
  return "live";
}

std::optional<KeyKind> key_kind_from_string(std::string_view name) {
  for (const KeyKind kind : {KeyKind::kLive, KeyKind::kTest, KeyKind::kAdmin}) {
    if (to_string(kind) == name) return kind;
  }
  return std::nullopt;
}

ApiKey new_api_key(KeyKind kind) {
  return {kind, KeyId(random_base62(kIdChars)), random_base62(kSecretChars)};
}

std::string to_text(const ApiKey& key) {
  const std::string text = without_checksum(key);
  return text + checksum(text);
}

std::optional<ApiKey> parse_api_key(std::string_view text) {
  for (const KeyKind kind : {KeyKind::kLive, KeyKind::kTest, KeyKind::kAdmin}) {
    const std::string prefix = prefix_of(kind);
    if (!text.starts_with(prefix)) continue;
    const std::string_view rest = text.substr(prefix.size());
    if (rest.size() != kIdChars + 1 + kSecretChars + kChecksumChars) return std::nullopt;
    const ApiKey key{kind, KeyId(std::string(rest.substr(0, kIdChars))),
                     std::string(rest.substr(kIdChars + 1, kSecretChars))};
    if (!is_base62(key.id.str()) || !is_base62(key.secret)) return std::nullopt;
    if (to_text(key) != text) return std::nullopt;  // the dash and the checksum
    return key;
  }
  return std::nullopt;
}

std::string redacted(KeyKind kind, const KeyId& id) {
  return prefix_of(kind) + id.str() + "-****";
}

Result<PepperFile> PepperFile::open(const std::filesystem::path& path) {
  auto content = read_file(path, kMaxPepperFileBytes);
  if (!content && content.error().code == Code::kNotFound) {
    if (auto made = make_pepper_file(path); !made) return made.error();
    content = read_file(path, kMaxPepperFileBytes);
  }
  if (!content) return content.error();

  const Error damaged{Code::kCorrupt, path.string() + " is not a pepper file"};
  if (!is_private(path)) {
    return Error{Code::kCorrupt, path.string() + " can be read by others; chmod it to 0600 and " +
                                     "consider the keys known"};
  }
  auto state = std::make_unique<State>();
  state->path = path;
  std::size_t count = 0;
  for (std::string_view rest = *content; !rest.empty(); ++count) {
    const std::string_view line = take_line(rest);
    const auto space = std::min(line.find(' '), line.size());
    std::uint32_t version = 0;
    const auto parsed = std::from_chars(line.data(), line.data() + space, version);
    const auto bytes = digest_from_hex(line.substr(std::min(space + 1, line.size())));
    if (parsed.ec != std::errc() || parsed.ptr != line.data() + space || !bytes) return damaged;
    if (count == kMaxPeppers) return damaged;
    state->peppers[count] = {version, *bytes};
  }
  const auto read = std::span(state->peppers).first(count);
  std::ranges::sort(read, {}, &Pepper::version);
  const auto twice = std::ranges::adjacent_find(read, {}, &Pepper::version);
  if (count == 0 || twice != read.end()) return damaged;
  state->count = count;
  return PepperFile(std::move(state));
}

Result<std::uint32_t> PepperFile::rotate() {
  const MutexLock lock(state_->change);
  const std::size_t count = state_->count;
  if (count == kMaxPeppers) return Error{Code::kConflict, "There are too many peppers."};
  Pepper next{.version = current_version() + 1};
  random_bytes(next.bytes.data(), next.bytes.size());
  std::string content;
  for (const Pepper& pepper : std::span(state_->peppers).first(count)) {
    content += line_of(pepper.version, pepper.bytes);
  }
  content += line_of(next.version, next.bytes);
  auto written = write_file_durably(state_->path, content, 0600);
  if (!written) return written.error();
  state_->peppers[count] = next;
  state_->count = count + 1;
  return next.version;
}

std::uint32_t PepperFile::current_version() const {
  return state_->peppers[state_->count - 1].version;
}

const PepperFile::Pepper* PepperFile::find(std::uint32_t version) const {
  for (std::size_t i = state_->count; i-- > 0;) {
    if (state_->peppers[i].version == version) return &state_->peppers[i];
  }
  return nullptr;
}

std::array<std::uint8_t, 32> PepperFile::hmac(std::uint32_t version,
                                              std::string_view message) const {
  const Pepper* pepper = find(version);
  assert(pepper != nullptr);
  return hmac_sha256(std::as_bytes(std::span(pepper->bytes)), message);
}

bool verify_api_key(const PepperFile& peppers, const ApiKeyRecord* record, const ApiKey& presented,
                    WallTime now) {
  const ApiKeyRecord unknown{.pepper_version = peppers.current_version()};
  const ApiKeyRecord& expected = record != nullptr ? *record : unknown;
  const RetiredSecret retired = expected.retired.value_or(RetiredSecret{
      .pepper_version = expected.pepper_version, .hmac = {}, .valid_until = WallTime::min()});
  const auto is_secret = [&](std::uint32_t pepper, const std::array<std::uint8_t, 32>& hmac) {
    const auto of_presented = peppers.hmac(pepper, presented.secret);
    return CRYPTO_memcmp(of_presented.data(), hmac.data(), hmac.size()) == 0;
  };
  const bool is_current = is_secret(expected.pepper_version, expected.secret_hmac);
  const bool is_retired = is_secret(retired.pepper_version, retired.hmac);
  const bool opens = is_current || (is_retired && now < retired.valid_until);
  return opens && record != nullptr && expected.kind == presented.kind;
}

}  // namespace tessera
