// commands.hpp — the subcommands of `tessera`; each takes what follows its name and returns the
// exit status: 0 done, 1 failed (stderr says why), 2 used wrongly.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace tessera {

inline constexpr int kExitDone = 0;
inline constexpr int kExitFailed = 1;
inline constexpr int kExitUsage = 2;

int serve_command(std::span<const std::string> arguments);
int quantize_command(std::span<const std::string> arguments);
int inspect_command(std::span<const std::string> arguments);
// Over HTTP, with an admin's or a tenant's key (gateway/cli).
int tenant_command(std::span<const std::string> arguments);
int key_command(std::span<const std::string> arguments);
int limit_command(std::span<const std::string> arguments);
int usage_command(std::span<const std::string> arguments);
int top_command(std::span<const std::string> arguments);
int backup_command(std::span<const std::string> arguments);
int adapter_command(std::span<const std::string> arguments);

int restore_command(std::span<const std::string> arguments);
int audit_command(std::span<const std::string> arguments);
int completion_command(std::span<const std::string> arguments);
int routes_command(std::span<const std::string> arguments);
int info_command(std::span<const std::string> arguments);
// Not for people: the process that validates one package (adapters/sandbox).
int validation_child_command(std::span<const std::string> arguments);

// Says on stderr what is wrong and how to learn more; returns kExitUsage.
int usage_error(std::string_view command, std::string_view message);
// Says on stderr what failed; returns kExitFailed.
int failure(std::string_view message);

// 1536 -> "1.5 KiB"
std::string human_bytes(double bytes);

}  // namespace tessera
