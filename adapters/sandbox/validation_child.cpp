#include "adapters/sandbox/validation_child.hpp"

#include <cerrno>
#include <cstdio>
#include <new>
#include <string>

#include <unistd.h>

#include "adapters/sandbox/child_process.hpp"
#include "adapters/sandbox/misbehaviour.hpp"

namespace tessera {
namespace {

constexpr int kDone = 0;
constexpr int kFailed = 1;

bool answer(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(kChildAnswerDescriptor, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

// A failure of ours or of the system's, told as a finding so that the server can log it.
PackageVerdict failure(const std::string& message) {
  PackageVerdict verdict;
  verdict.report.findings.push_back({.code = FindingCode::kValidationFailed, .message = message});
  return verdict;
}

PackageVerdict validate(const ValidationJob& job, const PackageContext& context) {
  try {
    misbehave(job.misbehaviour, job.files.archive >= 0 ? job.files.archive : job.files.tensors);
    auto verdict = validate_package(job.files, context, job.limits);
    return verdict ? *std::move(verdict) : failure(verdict.error().message);
  } catch (const std::bad_alloc&) {
    return failure("The package needs more memory than a package of its size may.");
  }
}

int run(const ValidationJob& job, const OpenContext& open_context) {
  if (!die_with_parent(job.parent_pid)) return kFailed;
  std::optional<PackageContext> context;
  if (!job.only_confine) {
    auto opened = open_context(job);
    if (!opened) return answer(to_text(failure(opened.error().message))) ? kDone : kFailed;
    context.emplace(*std::move(opened));
  }
  if (auto confined = confine(job.confinement); !confined) {
    return answer(to_text(failure(confined.error().message))) ? kDone : kFailed;
  }
  const PackageVerdict verdict =
      context ? validate(job, *context) : failure("");  // that it could be confined
  return answer(to_text(verdict)) ? kDone : kFailed;
}

}  // namespace

int run_validation_child(std::string_view job, const OpenContext& open_context) {
  const auto parsed = parse_validation_job(job);
  const int status = parsed ? run(*parsed, open_context) : kFailed;
  ::_exit(status);  // what destructors would free is gone with the process
}

}  // namespace tessera
