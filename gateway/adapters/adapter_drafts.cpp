#include "gateway/adapters/adapter_drafts.hpp"

#include <algorithm>
#include <iterator>
#include <set>
#include <system_error>

#include <nlohmann/json.hpp>

#include "gateway/api/stored_json.hpp"
#include "gateway/config.hpp"
#include "storage/json.hpp"
#include "storage/keys.hpp"
#include "storage/log.hpp"

namespace tessera {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

Error no_such_draft() {
  return {Code::kNotFound, "There is no such draft."};
}
Error unreadable() {
  return {Code::kCorrupt, "a record of an adapter's draft cannot be read"};
}

Result<void> make_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (!error) fs::permissions(folder, fs::perms::owner_all, error);
  if (!error) return {};
  return Error{Code::kIo, "Cannot use the folder " + folder.string() + ": " + error.message()};
}

}  // namespace

// --- opening

Result<std::unique_ptr<AdapterDrafts>> AdapterDrafts::open(Store& store, const fs::path& folder,
                                                           WallTime now, AuditedWrite write) {
  if (auto made = make_folder(folder); !made) return made.error();
  if (!write) write = unaudited(store);
  std::unique_ptr<AdapterDrafts> drafts(new AdapterDrafts(store, folder, std::move(write)));
  {
    const MutexLock lock(drafts->mutex_);
    if (auto read = drafts->read_records(); !read) return read.error();
    if (auto removed = drafts->remove_strays(); !removed) return removed.error();
  }
  drafts->sweep(now);
  return drafts;
}

Result<void> AdapterDrafts::read_records() {
  std::vector<std::pair<std::string, std::string>> records;  // keys and texts
  const std::string prefix = keys::all_drafts();
  auto scanned =
      store_.scan(Family::kMeta, prefix, prefix, [&](std::string_view key, std::string_view text) {
        records.emplace_back(key, text);
        return true;
      });
  if (!scanned) return scanned;
  for (const auto& [key, text] : records) {
    auto kept = read_record(text);
    if (!kept && kept.error().code == Code::kNotFound) {
      Batch batch;
      batch.erase(Family::kMeta, key);
      if (auto erased = write_(std::move(batch), {}); !erased) return erased;
    } else if (!kept) {
      return kept.error();
    } else {
      const Key draft(kept->draft.tenant, kept->draft.id);
      drafts_.emplace(draft, *std::move(kept));
    }
  }
  return {};
}

// A draft and its files. Errors: kCorrupt; kNotFound if its bytes are not there.
Result<AdapterDrafts::Kept> AdapterDrafts::read_record(std::string_view text) const {
  const auto json = parse_json(text);
  if (!json) return unreadable();
  try {
    Kept kept{.draft = {.id = json->at("id"),
                        .tenant = TenantId(json->at("tenant")),
                        .adapter = json->at("adapter"),
                        .created_at = stored_time_at(*json, "created_at"),
                        .expires_at = stored_time_at(*json, "expires_at")}};
    for (const auto& [file, value] : json->at("files").items()) {
      const auto digest = digest_from_hex(value.at("sha256").get_ref<const std::string&>());
      if (!digest) return unreadable();
      const std::string name = value.at("name");
      auto bytes = open_kept_file(folder_ / name, ContentDigest{*digest});
      if (!bytes) {
        log_warn("draft_without_its_bytes", {{"id", kept.draft.id}});
        return no_such_draft();
      }
      kept.draft.files.emplace(file, *std::move(bytes));
      kept.names.emplace(file, name);
    }
    return kept;
  } catch (const Json::exception&) {
    return unreadable();
  }
}

Result<void> AdapterDrafts::remove_strays() const {
  std::set<std::string, std::less<>> known;
  for (const auto& [key, kept] : drafts_) {
    for (const auto& [file, name] : kept.names) known.insert(name);
  }
  std::error_code error;
  std::vector<std::string> strays;
  for (fs::directory_iterator it(folder_, error), end; !error && it != end; it.increment(error)) {
    std::string name = it->path().filename().string();
    if (!known.contains(name)) strays.push_back(std::move(name));
  }
  if (error) return Error{Code::kIo, "cannot list the drafts' files: " + error.message()};
  for (const std::string& name : strays) remove_name(name);
  return {};
}

// --- changes

// What cannot be written now is tried again the next time; nobody finds it meanwhile.
void AdapterDrafts::sweep(WallTime now) {
  const MutexLock lock(mutex_);
  for (auto at = drafts_.begin(); at != drafts_.end();) {
    const Kept& kept = at->second;
    const bool over = kept.draft.expires_at <= now;
    const bool gone = over && erase(kept, "adapter.draft.expired", {}, now).has_value();
    at = gone ? drafts_.erase(at) : std::next(at);
  }
}

Result<AdapterDraft> AdapterDrafts::create(const FileActor& actor, std::string_view adapter,
                                           WallTime now) {
  sweep(now);
  const MutexLock lock(mutex_);
  const auto count = std::ranges::count_if(
      drafts_, [&](const auto& entry) { return entry.first.first == actor.tenant; });
  if (static_cast<std::size_t>(count) >= kMaxDraftsOfTenant) {
    return Error{Code::kRequestExceedsLimit, "There can be " + std::to_string(kMaxDraftsOfTenant) +
                                                 " drafts; complete or cancel one."};
  }
  Kept kept{.draft = {.id = "draft_" + new_ulid(now),
                      .tenant = actor.tenant,
                      .adapter = std::string(adapter),
                      .created_at = now,
                      .expires_at = now + kDraftLifetime}};
  const AuditRecord audit =
      new_audit_record("adapter.draft.created", actor.key, actor.tenant, kept.draft.id, now);
  if (auto written = write_kept(kept, audit); !written) return written.error();
  AdapterDraft draft = kept.draft;
  drafts_.emplace(Key(actor.tenant, draft.id), std::move(kept));
  return draft;
}

Result<AdapterDraft> AdapterDrafts::get(const TenantId& tenant, std::string_view adapter,
                                        std::string_view id, WallTime now) {
  const MutexLock lock(mutex_);
  const Kept* const kept = find(tenant, adapter, id, now);
  if (!kept) return no_such_draft();
  return kept->draft;
}

// A file's bytes are linked and synced before the record has them, without the lock: others' drafts
// do not wait for the disk. The draft may have ended meanwhile.
Result<AdapterDraft> AdapterDrafts::put(const FileActor& actor, std::string_view adapter,
                                        std::string_view id, std::string_view file,
                                        const AdapterDraft::File& bytes, std::uint64_t max_bytes,
                                        WallTime now) {
  {
    const MutexLock lock(mutex_);
    const Kept* const kept = find(actor.tenant, adapter, id, now);
    if (!kept) return no_such_draft();
    if (auto room = check_room(*kept, file, bytes->size(), max_bytes); !room) return room.error();
  }
  const std::string name = "draftfile_" + new_ulid(now);
  if (auto linked = bytes->keep(folder_ / name); !linked) return linked.error();
  const MutexLock lock(mutex_);
  Kept* const kept = find(actor.tenant, adapter, id, now);
  Result<void> may =
      kept ? check_room(*kept, file, bytes->size(), max_bytes) : Result<void>(no_such_draft());
  auto added =
      may ? add_file(actor, *kept, file, bytes, name, now) : Result<AdapterDraft>(may.error());
  if (!added) remove_name(name);
  return added;
}

Result<void> AdapterDrafts::check_room(const Kept& kept, std::string_view file, std::uint64_t bytes,
                                       std::uint64_t max_bytes) const {
  const auto replaced = kept.draft.files.find(file);
  const std::uint64_t given_back =
      replaced == kept.draft.files.end() ? 0 : replaced->second->size();
  if (held_by(kept.draft.tenant) - given_back + bytes <= max_bytes) return {};
  return Error{Code::kStorageQuotaExceeded, "Drafts may have " + std::to_string(max_bytes) +
                                                " bytes in all; complete or cancel one."};
}

Result<AdapterDraft> AdapterDrafts::add_file(const FileActor& actor, Kept& kept,
                                             std::string_view file, const AdapterDraft::File& bytes,
                                             const std::string& name, WallTime now) {
  auto opened = open_kept_file(folder_ / name, bytes->sha256());  // counted as staged no longer
  if (!opened) return opened.error();
  Kept next = kept;
  next.draft.files.insert_or_assign(std::string(file), *std::move(opened));
  next.names.insert_or_assign(std::string(file), name);
  const AuditRecord audit =
      new_audit_record("adapter.draft.updated", actor.key, actor.tenant, kept.draft.id, now);
  if (auto written = write_kept(next, audit); !written) return written.error();
  if (const auto old = kept.names.find(file); old != kept.names.end()) remove_name(old->second);
  kept = std::move(next);
  return kept.draft;
}

Result<AdapterDraft> AdapterDrafts::take(const FileActor& actor, std::string_view adapter,
                                         std::string_view id, WallTime now) {
  const MutexLock lock(mutex_);
  Kept* const found = find(actor.tenant, adapter, id, now);
  if (!found) return no_such_draft();
  if (auto erased = erase(*found, "adapter.draft.deleted", actor.key, now); !erased) {
    return erased.error();
  }
  AdapterDraft draft = std::move(found->draft);
  drafts_.erase(Key(actor.tenant, std::string(id)));
  return draft;
}

std::uint64_t AdapterDrafts::bytes_of(const TenantId& tenant) const {
  const MutexLock lock(mutex_);
  return held_by(tenant);
}

// --- under the lock

AdapterDrafts::Kept* AdapterDrafts::find(const TenantId& tenant, std::string_view adapter,
                                         std::string_view id, WallTime now) {
  const auto found = drafts_.find(Key(tenant, std::string(id)));
  if (found == drafts_.end() || found->second.draft.adapter != adapter) return nullptr;
  return found->second.draft.expires_at > now ? &found->second : nullptr;
}

Result<void> AdapterDrafts::write_kept(const Kept& kept, const AuditRecord& audit) {
  const AdapterDraft& draft = kept.draft;
  Json json = {{"id", draft.id},
               {"tenant", draft.tenant.str()},
               {"adapter", draft.adapter},
               {"created_at", stored_time(draft.created_at)},
               {"expires_at", stored_time(draft.expires_at)},
               {"files", Json::object()}};
  for (const auto& [file, bytes] : draft.files) {
    json["files"][file] = {{"name", kept.names.at(file)}, {"sha256", to_hex(bytes->sha256())}};
  }
  Batch batch;
  batch.put(Family::kMeta, keys::draft(draft.tenant.str(), draft.id), to_text(json));
  return write_(std::move(batch), std::span(&audit, 1));
}

Result<void> AdapterDrafts::erase(const Kept& kept, std::string_view event, const KeyId& key,
                                  WallTime now) {
  const AdapterDraft& draft = kept.draft;
  Batch batch;
  batch.erase(Family::kMeta, keys::draft(draft.tenant.str(), draft.id));
  const AuditRecord audit = new_audit_record(std::string(event), key, draft.tenant, draft.id, now);
  if (auto written = write_(std::move(batch), std::span(&audit, 1)); !written) return written;
  for (const auto& [file, name] : kept.names) remove_name(name);
  return {};
}

std::uint64_t AdapterDrafts::held_by(const TenantId& tenant) const {
  std::uint64_t bytes = 0;
  for (const auto& [key, kept] : drafts_) {
    if (key.first != tenant) continue;
    for (const auto& [name, file] : kept.draft.files) bytes += file->size();
  }
  return bytes;
}

void AdapterDrafts::remove_name(const std::string& name) const {
  std::error_code ignored;  // open() looks again
  fs::remove(folder_ / name, ignored);
}

}  // namespace tessera
