// audit_command.cpp — `tessera audit verify`: whether the usage and audit records are as written.
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "gateway/cli/commands.hpp"
#include "gateway/cli/options.hpp"
#include "storage/digest.hpp"
#include "storage/json.hpp"
#include "tenancy/hash_chain.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

constexpr char kHelp[] =
    R"(Checks that no usage or audit record was altered, removed or slipped in.

Usage: tessera audit verify [OPTIONS]

Each record is linked to the one before it by a SHA-256. Reads the store as it is now; a server may
be running on it. Note the heads somewhere else from time to time: a later check that passes through
the same head shows that nothing up to it has changed, not even by someone who computed all links
anew. Exits with 0 if both chains hold, with 1 if not.

Options:
)";

void print_report(Chain chain, const ChainReport& report) {
  std::printf("%-8s%llu links, head %s\n", std::string(to_string(chain)).c_str(),
              static_cast<unsigned long long>(report.num_links), to_hex(report.head).c_str());
  if (report.first_fault != 0) {
    std::printf("        link %llu does not hold: %s\n",
                static_cast<unsigned long long>(report.first_fault), report.fault.c_str());
  }
  if (report.num_unlinked != 0) {
    std::printf("        %llu records have no link\n",
                static_cast<unsigned long long>(report.num_unlinked));
  }
}

Json to_json(const ChainReport& report) {
  Json node = {{"holds", report.holds()},
               {"links", report.num_links},
               {"head", to_hex(report.head)},
               {"unlinked_records", report.num_unlinked}};
  if (report.first_fault != 0) {
    node["first_fault"] = {{"link", report.first_fault}, {"reason", report.fault}};
  }
  return node;
}

int verify(const std::filesystem::path& data, bool json) {
  const auto store = open_rocks_store_read_only(data / "store");
  if (!store) return failure(store.error().message);
  bool all_hold = true;
  Json reports = Json::object();
  for (const Chain chain : {Chain::kUsage, Chain::kAudit}) {
    const auto report = verify_chain(**store, chain);
    if (!report) return failure(report.error().message);
    all_hold = all_hold && report->holds();
    if (json) {
      reports[std::string(to_string(chain))] = to_json(*report);
    } else {
      print_report(chain, *report);
    }
  }
  if (json) std::printf("%s\n", to_text(reports).c_str());
  return all_hold ? kExitDone : kExitFailed;
}

}  // namespace

int audit_command(std::span<const std::string> arguments) {
  std::string data = "data";
  bool help = false;
  bool json = false;
  const std::vector<Option> options = {
      text_option("--data", "DIR", "where the server keeps its state (default: data)", data),
      switch_option("--json", "one JSON object, on a line", json),
      switch_option("--help", "show this", help)};
  const auto rest = parse_options(arguments, options);
  if (!rest) return usage_error("audit", rest.error().message);
  if (help) {
    std::printf("%s%s", kHelp, describe_options(options).c_str());
    return kExitDone;
  }
  if (rest->size() != 1 || rest->front() != "verify") {
    return usage_error("audit", "audit knows one action: verify.");
  }
  return verify(data, json);
}

}  // namespace tessera
