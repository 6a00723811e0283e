#include "gateway/cli/commands.hpp"

#include <array>
#include <cstdio>

namespace tessera {

int usage_error(std::string_view command, std::string_view message) {
  std::fprintf(stderr, "tessera: %.*s\nSee `tessera %.*s%s--help`.\n",
               static_cast<int>(message.size()), message.data(), static_cast<int>(command.size()),
               command.data(), command.empty() ? "" : " ");
  return kExitUsage;
}

int failure(std::string_view message) {
  std::fprintf(stderr, "tessera: %.*s\n", static_cast<int>(message.size()), message.data());
  return kExitFailed;
}

std::string human_bytes(double bytes) {
  constexpr std::array<const char*, 5> kUnits = {"B", "KiB", "MiB", "GiB", "TiB"};
  std::size_t unit = 0;
  for (; bytes >= 1024.0 && unit + 1 < kUnits.size(); ++unit) bytes /= 1024.0;
  std::array<char, 48> text{};
  std::snprintf(text.data(), text.size(), "%.*f %s", unit == 0 ? 0 : 1, bytes, kUnits[unit]);
  return text.data();
}

}  // namespace tessera
