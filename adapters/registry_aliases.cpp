// registry_aliases.cpp — aliases move, go back and go; labels change.
#include <algorithm>
#include <utility>

#include "adapters/registry.hpp"
#include "storage/keys.hpp"

namespace tessera {
namespace {

using Kind = RegistryChange::Kind;

Error alias_not_found(std::string_view alias) {
  return {Code::kNotFound, "The adapter has no alias `" + std::string(alias) + "`."};
}

std::string etag_or_none(const AdapterInfo& info, std::string_view alias) {
  const auto found = info.aliases.find(alias);
  return found == info.aliases.end() ? "" : etag_of(info, found->second);
}

// Errors: kModelNotFound, kVersionNotReady.
Result<void> check_ready(const AdapterInfo& info, const AliasTarget& target) {
  for (const AliasShare& share : target.shares) {
    const std::string name = info.name + '@' + std::to_string(share.version);
    const AdapterVersion* version = info.find(share.version);
    if (version == nullptr) return model_not_found(name);
    if (version->status == VersionStatus::kReady) continue;
    return Error{Code::kVersionNotReady,
                 "The adapter version " + name + " is " + std::string(to_string(version->status)) +
                     "; an alias can only point at one that is ready.",
                 "version"};
  }
  return {};
}

}  // namespace

Result<void> AdapterRegistry::check_alias_name(std::string_view alias) {
  if (is_valid_adapter_name(alias)) return {};
  return Error{Code::kInvalidValue,
               "An alias is 1 to 63 characters of a-z, 0-9, '.', '_' and '-', and begins with a "
               "letter or digit.",
               "alias"};
}

Result<std::vector<AliasMove>> AdapterRegistry::read_history(const TenantId& tenant,
                                                             std::string_view name,
                                                             std::string_view alias) const {
  const auto text = store_.get(Family::kMeta, keys::alias_history(tenant.str(), name, alias));
  if (!text) return text.error();
  if (!*text) return std::vector<AliasMove>();
  return parse_history_record(**text);
}

void AdapterRegistry::put_alias(Draft& draft, std::string_view alias, const AliasTarget& target,
                                const std::vector<AliasMove>& history) {
  const Alias moved{.target = target,
                    .revision = draft.info.revision,
                    .moved_at = draft.now,
                    .moved_by = draft.actor};
  const std::string& tenant = draft.tenant.str();
  std::string history_key = keys::alias_history(tenant, draft.info.name, alias);
  draft.batch.put(Family::kMeta, keys::alias(tenant, draft.info.name, alias), alias_record(moved));
  if (history.empty()) {
    draft.batch.erase(Family::kMeta, std::move(history_key));
  } else {
    draft.batch.put(Family::kMeta, std::move(history_key), history_record(history));
  }
  RegistryChange& change = draft.change(Kind::kAliasUpdated);
  change.alias = alias;
  change.target = target;
  draft.info.aliases.insert_or_assign(std::string(alias), moved);
}

void AdapterRegistry::erase_alias(Draft& draft, std::string_view alias) {
  const std::string& tenant = draft.tenant.str();
  draft.batch.erase(Family::kMeta, keys::alias(tenant, draft.info.name, alias))
      .erase(Family::kMeta, keys::alias_history(tenant, draft.info.name, alias));
  draft.change(Kind::kAliasDeleted).alias = alias;
  draft.info.aliases.erase(draft.info.aliases.find(alias));
}

// Makes the alias, or moves it and remembers where it was.
Result<void> AdapterRegistry::move_alias(Draft& draft, std::string_view alias,
                                         const AliasTarget& target) const {
  const auto before = draft.info.aliases.find(alias);
  std::vector<AliasMove> history;
  if (before != draft.info.aliases.end()) {
    auto read = read_history(draft.tenant, draft.info.name, alias);
    if (!read) return read.error();
    history = *std::move(read);
    const Alias& was = before->second;
    history.insert(history.begin(),
                   {.target = was.target, .moved_at = was.moved_at, .moved_by = was.moved_by});
    if (history.size() > kMaxAliasHistory) history.resize(kMaxAliasHistory);
  } else if (draft.info.aliases.size() >= kMaxAliases) {
    return Error{Code::kRequestExceedsLimit,
                 "An adapter has at most " + std::to_string(kMaxAliases) + " aliases."};
  }
  put_alias(draft, alias, target, history);
  return {};
}

// Before `version` goes out of service: splits go on with their other shares; an alias that has no
// other goes too, if `which` says all.
Result<void> AdapterRegistry::take_from_aliases(Draft& draft, int version, Aliases which) const {
  const auto aliases = draft.info.aliases;
  for (const auto& [name, alias] : aliases) {
    if (!alias.target.points_at(version)) continue;
    AliasTarget rest = alias.target;
    std::erase_if(rest.shares, [&](const AliasShare& share) { return share.version == version; });
    if (rest.shares.size() == 1) rest = AliasTarget::one(rest.shares.front().version);
    if (rest.shares.empty()) {
      if (which == Aliases::kAll) erase_alias(draft, name);
    } else if (auto moved = move_alias(draft, name, rest); !moved) {
      return moved;
    }
  }
  return {};
}

Result<Alias> AdapterRegistry::set_alias(const ChangeRequest& change, std::string_view alias,
                                         const AliasTarget& target) {
  if (auto checked = check_alias_name(alias); !checked) return checked.error();
  if (auto checked = check_target(target); !checked) return checked.error();
  MutexLock lock(change_mutex_);
  auto drafted = draft(change);
  if (!drafted) return drafted.error();
  const auto before = drafted->info.aliases.find(alias);
  const auto etag = etag_or_none(drafted->info, alias);
  if (auto holds = change.precondition.check(etag); !holds) return holds.error();
  if (auto ready = check_ready(drafted->info, target); !ready) return ready.error();
  if (before != drafted->info.aliases.end() && before->second.target == target) {
    return before->second;
  }
  if (auto moved = move_alias(*drafted, alias, target); !moved) return moved.error();
  const Alias now = drafted->info.aliases.find(alias)->second;
  if (auto done = commit(*drafted); !done) return done.error();
  return now;
}

Result<Alias> AdapterRegistry::roll_back(const ChangeRequest& change, std::string_view alias) {
  MutexLock lock(change_mutex_);
  auto drafted = draft(change);
  if (!drafted) return drafted.error();
  const auto etag = etag_or_none(drafted->info, alias);
  if (etag.empty()) return alias_not_found(alias);
  if (auto holds = change.precondition.check(etag); !holds) return holds.error();
  auto history = read_history(change.tenant, change.name, alias);
  if (!history) return history.error();
  const auto is_usable = [&](const AliasMove& move) {
    return check_ready(drafted->info, move.target).has_value();
  };
  const auto back = std::ranges::find_if(*history, is_usable);
  if (back == history->end()) {
    return Error{Code::kConflict, "The alias has no earlier target whose versions are all ready."};
  }
  const AliasTarget target = back->target;
  history->erase(history->begin(), back + 1);
  put_alias(*drafted, alias, target, *history);
  const Alias now = drafted->info.aliases.find(alias)->second;
  if (auto done = commit(*drafted); !done) return done.error();
  return now;
}

Result<void> AdapterRegistry::remove_alias(const ChangeRequest& change, std::string_view alias) {
  MutexLock lock(change_mutex_);
  auto drafted = draft(change);
  if (!drafted) return drafted.error();
  const auto etag = etag_or_none(drafted->info, alias);
  if (etag.empty()) return alias_not_found(alias);
  if (auto holds = change.precondition.check(etag); !holds) return holds.error();
  erase_alias(*drafted, alias);
  return commit(*drafted);
}

Result<std::vector<AliasMove>> AdapterRegistry::history(const TenantId& tenant,
                                                        std::string_view name,
                                                        std::string_view alias) const {
  const auto info = index_.find(tenant, name);
  if (info == nullptr) return model_not_found(name);
  if (!info->aliases.contains(alias)) return alias_not_found(alias);
  return read_history(tenant, name, alias);
}

Result<std::shared_ptr<const AdapterInfo>> AdapterRegistry::set_labels(const ChangeRequest& change,
                                                                       const LabelChanges& labels) {
  MutexLock lock(change_mutex_);
  auto drafted = draft(change);
  if (!drafted) return drafted.error();
  const auto before = index_.find(change.tenant, change.name);
  if (auto holds = change.precondition.check(etag_of(*before)); !holds) return holds.error();
  for (const auto& [key, value] : labels) {
    if (value) {
      drafted->info.labels.insert_or_assign(key, *value);
    } else {
      drafted->info.labels.erase(key);
    }
  }
  if (drafted->info.labels == before->labels) return before;
  if (auto checked = check_labels(drafted->info.labels, "labels"); !checked) return checked.error();
  drafted->change(Kind::kAdapterUpdated);
  if (auto done = commit(*drafted); !done) return done.error();
  return index_.find(change.tenant, change.name);
}

}  // namespace tessera
