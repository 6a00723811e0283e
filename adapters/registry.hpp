// registry.hpp — the adapters of every tenant: names, immutable versions, aliases, original bytes.
//
// A name belongs to one tenant and has versions 1, 2, 3 ...; a version is a digest and never
// changes; an alias ("prod") points at a version, or splits its traffic over several. Every change
// is one atomic batch in the store, synced: after a call has returned, what it did survives a
// crash; before, nothing of it is visible. The bytes of an upload are too many for a batch; they
// are written before it and are nobody's until it is there (package_shelf.hpp). Requests are
// resolved in memory, so the request path neither reads the store nor waits for an upload.
//
// A request is pinned to a digest when it is admitted. Deleting a version takes it out of every
// lookup at once, but its bytes stay until the last request that is pinned to it has ended.
//
// The uploaded bytes are keyed by the digest of the bytes, and equal bytes are kept once. (Not
// keyed by the adapter's digest: two files that mean the same may differ in what their makers wrote
// beside the tensors, and one tenant must not be handed another's.)
//
// Isolation: a name that is another tenant's and a name that does not exist are answered with the
// same text.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "adapters/adapter_facts.hpp"
#include "adapters/base_model.hpp"
#include "adapters/model_name.hpp"
#include "adapters/package_shelf.hpp"
#include "adapters/registry_changes.hpp"
#include "adapters/registry_index.hpp"
#include "adapters/registry_records.hpp"
#include "storage/clock.hpp"
#include "storage/digest.hpp"
#include "storage/ids.hpp"
#include "storage/mutex.hpp"
#include "storage/result.hpp"
#include "storage/staged_file.hpp"
#include "storage/store.hpp"

namespace tessera {

// What a tenant may keep; equal bytes count once.
struct AdapterQuota {
  std::uint64_t max_adapters = 0;  // names
  std::uint64_t max_bytes = 0;     // of uploaded files
};

inline constexpr std::size_t kMaxVersions = 20'000;    // of one name that are kept
inline constexpr std::size_t kMaxFailedVersions = 20;  // of one name; the oldest goes for the next

// Whose version it is to be, and who asks for it.
struct VersionRequest {
  TenantId tenant;
  std::string name;
  KeyId created_by;
  WallTime now;
  AdapterQuota quota;
  Labels metadata = {};
};

struct PublishRequest {
  VersionRequest version;
  std::shared_ptr<const StagedFile> config;        // adapter_config.json
  std::shared_ptr<const StagedFile> tensors;       // adapter_model.safetensors
  std::string report = {};                         // of its validation, JSON
  std::string alias = std::string(kDefaultAlias);  // that moves to it; empty: none does
  std::optional<int> reserved = {};                // the number that begin_version() gave
};

struct Published {
  AdapterVersion version;
  bool created = true;  // false: the name already had a ready version with this digest
};

// What a caller knows of an object that it wants to change (RFC 9110, section 13.1).
struct Precondition {
  bool must_exist = false;              // If-Match: *
  bool must_be_absent = false;          // If-None-Match: *
  std::vector<std::string> etags = {};  // If-Match: one of these, unless empty

  // `etag` is empty if there is no such object. Errors: kPreconditionFailed.
  Result<void> check(std::string_view etag) const;
};

// Who changes what is there.
struct ChangeRequest {
  TenantId tenant;
  std::string name;  // of the adapter
  KeyId actor = {};  // empty: the server itself
  WallTime now = {};
  Precondition precondition = {};
};

// Whether a version that an alias points at may be removed. The alias then goes with it; a split
// goes on with its other shares.
enum class Removal : std::uint8_t { kUnlessAliased, kForced };

// What a request is pinned to when it is admitted.
struct ResolvedAdapter {
  AdapterDigest digest = {};
  std::string display_name = {};  // "support-bot@7"
  bool is_plain = true;           // can be mixed with others
  // Its bytes are there for as long as this is held: to the end of the request.
  PackagePin pin = {};
};

// A registry to be: what the store holds of one.
struct RegistryContents {
  RegistryIndex::Tenants tenants;
  PackageShelf shelf;  // the bytes of their versions
  // Names that have a version which was being validated.
  std::vector<std::pair<TenantId, std::string>> interrupted = {};
};

// Erases bytes that are nobody's. Others may read their own records of `store` meanwhile.
// Errors: kIo, kCorrupt.
Result<RegistryContents> read_registry(Store& store);

// Thread-safe. Changes are serialised; each read sees one adapter, or one list, as it was at one
// moment.
class AdapterRegistry {
 public:
  // Reads what the store has, and puts right what a crash left: a version that was being validated
  // is failed, with the finding `validation_interrupted`; bytes that are nobody's go. `store` and
  // `journal` (null: changes are written and told nobody) outlive the registry.
  // Errors: kIo, kCorrupt.
  static Result<std::unique_ptr<AdapterRegistry>> open(Store& store, BaseModel base,
                                                       RegistryJournal* journal = nullptr,
                                                       WallTime now = {});
  // The same with what read_registry() has made of the store.
  static Result<std::unique_ptr<AdapterRegistry>> open(Store& store, BaseModel base,
                                                       RegistryJournal* journal, WallTime now,
                                                       Result<RegistryContents> contents);

  const BaseModel& base() const { return base_; }

  // --- versions

  // A name without a version, or the name as it is if it is there. Errors: kInvalidValue (name,
  // labels), kNameExists (the base's name), kStorageQuotaExceeded, those of Store.
  Result<std::shared_ptr<const AdapterInfo>> create(const VersionRequest& request,
                                                    const Labels& labels = {});

  // The next version of its name, ready, with `facts` that validation found of the request's files;
  // or, of a number that was reserved, that version. The request's alias moves to it. If the name
  // already has a ready version with the same digest and no number is reserved, that version is
  // returned, and nothing changes but that an alias that is missing is made.
  // Errors: kInvalidValue (name, alias, metadata), kNameExists (the base's name),
  // kStorageQuotaExceeded, kModelNotFound (the reserved version was deleted meanwhile), and those
  // of the store and the files; nothing of it is visible then.
  Result<Published> publish(const PublishRequest& request, const AdapterFacts& facts);

  // Writes the bytes of a publish() to come, which then finds them; without one they go again with
  // the pin. Errors: those of publish() that can be known by now.
  Result<PackagePin> prepare(const PublishRequest& request);

  // Gives a version that is still being validated its number. It has to end in publish() or
  // fail_version(); a crash before is its failure. Errors: those of publish() but for the bytes.
  Result<AdapterVersion> begin_version(const VersionRequest& request);
  // Errors: kModelNotFound if it was deleted meanwhile; kConflict if it is not being validated.
  Result<AdapterVersion> fail_version(const TenantId& tenant, std::string_view name, int version,
                                      std::string report, WallTime now);
  // begin_version() and fail_version() in one. Errors: theirs.
  Result<AdapterVersion> record_failed(const VersionRequest& request, std::string report);

  // The report of a version's validation, JSON; empty if none was kept.
  // Errors: kModelNotFound, those of Store.
  Result<std::string> report(const TenantId& tenant, std::string_view name, int version) const;

  // Takes a version out of service, or puts it back. Splits go on without it; an alias that points
  // at it alone answers kVersionNotReady. Errors: kModelNotFound; kConflict unless it is ready, or
  // quarantined.
  Result<AdapterVersion> set_quarantined(const ChangeRequest& change, int version,
                                         bool quarantined);

  // Deletes a name with all of its versions, or one version. Numbers are never used again: if the
  // name returns, its versions count on. Requests that are pinned to one of them finish.
  // Errors: kModelNotFound; kConflict if an alias points at the version and the removal is not
  // forced; kPreconditionFailed. What was removed is returned.
  Result<std::shared_ptr<const AdapterInfo>> remove(const ChangeRequest& change);
  Result<AdapterVersion> remove_version(const ChangeRequest& change, int version,
                                        Removal removal = Removal::kUnlessAliased);

  // --- aliases and labels. The precondition is about the alias; that of set_labels, about the
  // adapter. Errors of all: kModelNotFound (the adapter), kPreconditionFailed, those of Store.

  // Makes or moves an alias. Errors: kInvalidValue (its name, its target), kModelNotFound (a
  // version of the target), kVersionNotReady (such a version is not ready), kRequestExceedsLimit.
  Result<Alias> set_alias(const ChangeRequest& change, std::string_view alias,
                          const AliasTarget& target);
  // Back to the target before this one, past those whose versions are gone; again, to the one
  // before that. Errors: kNotFound (the alias), kConflict if there is none to go back to.
  Result<Alias> roll_back(const ChangeRequest& change, std::string_view alias);
  // Errors: kNotFound (the alias).
  Result<void> remove_alias(const ChangeRequest& change, std::string_view alias);
  // The targets that it had before, newest first. Errors: kNotFound (the alias), those of Store.
  Result<std::vector<AliasMove>> history(const TenantId& tenant, std::string_view name,
                                         std::string_view alias) const;
  // Sets the labels that have a value and erases those that have none.
  // Errors: kInvalidValue (labels).
  using LabelChanges = std::map<std::string, std::optional<std::string>, std::less<>>;
  Result<std::shared_ptr<const AdapterInfo>> set_labels(const ChangeRequest& change,
                                                        const LabelChanges& labels);

  // --- reads

  // In byte order of the names.
  std::vector<std::shared_ptr<const AdapterInfo>> list(const TenantId& tenant) const;
  // Errors: kModelNotFound.
  Result<std::shared_ptr<const AdapterInfo>> get(const TenantId& tenant,
                                                 std::string_view name) const;

  // `model` as model_name.hpp reads it. Of a split, `keys` decide; without one that counts, chance.
  // Errors: kModelNotFound; kVersionNotReady if the version is not ready, or was made for another
  // base.
  Result<ResolvedAdapter> resolve(const TenantId& tenant, std::string_view model,
                                  const StickyKeys& keys = {}) const;

  // Whether any version, of whatever tenant, or any request has this digest.
  bool has(const AdapterDigest& digest) const;

  // The bytes of a digest, or of a version; null if nobody has it.
  PackagePin package(const AdapterDigest& digest) const;
  PackagePin package(const AdapterVersion& version) const;

  // The whole files of a digest, as uploaded, checked against their digest.
  // Errors: kNotFound if nobody has it; kCorrupt if the bytes are not what they were.
  Result<AdapterFiles> load(const AdapterDigest& digest) const;

  struct Usage {
    std::uint64_t adapters = 0;
    std::uint64_t bytes = 0;
  };
  Usage usage(const TenantId& tenant) const;

  // Called, on a thread of the registry's, when nobody has a digest any more: what was made of its
  // bytes can go. When set_on_gone() returns, the former callback is neither running nor called
  // again.
  void set_on_gone(std::function<void(const AdapterDigest&)> on_gone) {
    shelf_.set_on_gone(std::move(on_gone));
  }

 private:
  // A change of one adapter on its way: what it will be, and what the store is told.
  struct Draft {
    TenantId tenant;
    KeyId actor;
    WallTime now;
    AdapterInfo info = {};
    bool erased = false;  // the name goes
    Batch batch = {};
    std::vector<RegistryChange> changes = {};
    PackagePin added = {};  // by the version that has `digest`
    AdapterDigest digest = {};
    std::map<ContentDigest, std::pair<PackageRef, int>> dropped = {};

    RegistryChange& change(RegistryChange::Kind kind);
  };

  AdapterRegistry(Store& store, BaseModel base, RegistryJournal* journal,
                  RegistryContents contents);

  // Which aliases lose a version: all that point at it, or only those that have others too.
  enum class Aliases : std::uint8_t { kAll, kSplits };
  using Infos = std::vector<std::shared_ptr<const AdapterInfo>>;

  // registry.cpp
  Result<void> fail_interrupted(const ChangeRequest& change);
  Result<Draft> draft(const ChangeRequest& change) const;
  Result<void> commit(Draft& draft) TESSERA_REQUIRES(change_mutex_);
  void make_visible(Draft& draft) TESSERA_REQUIRES(change_mutex_);
  static Usage usage_of(const Infos& adapters, const ContentDigest* but_for = nullptr);

  // registry_versions.cpp
  Result<void> check_request(const VersionRequest& request) const;
  Result<void> check_publish(const PublishRequest& request) const;
  Result<void> check_bytes(const PublishRequest& request, const ContentDigest& content) const;
  Result<Draft> draft_version(const VersionRequest& request) const;
  Result<Draft> draft_publish(const PublishRequest& request) const;
  Result<std::optional<Published>> find_published(const PublishRequest& request,
                                                  const AdapterFacts& facts)
      TESSERA_REQUIRES(change_mutex_);
  Result<Published> publish_into(Draft& draft, const PublishRequest& request,
                                 const AdapterFacts& facts, const PackagePin& package)
      TESSERA_REQUIRES(change_mutex_);
  static AdapterVersion new_version(Draft& draft, const VersionRequest& request,
                                    const BaseDigest& base);
  static void put_version(Draft& draft, const AdapterVersion& version, RegistryChange::Kind kind);
  static void put_report(Draft& draft, int version, std::string report);
  static void erase_version(Draft& draft, int version);
  static void trim_failed(Draft& draft);

  // registry_aliases.cpp
  static Result<void> check_alias_name(std::string_view alias);
  Result<std::vector<AliasMove>> read_history(const TenantId& tenant, std::string_view name,
                                              std::string_view alias) const;
  Result<void> move_alias(Draft& draft, std::string_view alias, const AliasTarget& target) const;
  static void put_alias(Draft& draft, std::string_view alias, const AliasTarget& target,
                        const std::vector<AliasMove>& history);
  static void erase_alias(Draft& draft, std::string_view alias);
  Result<void> take_from_aliases(Draft& draft, int version, Aliases which) const;

  Store& store_;
  RegistryJournal* const journal_;
  const BaseModel base_;
  Mutex change_mutex_;  // held by the one change in progress, from reading to writing
  RegistryIndex index_;
  PackageShelf shelf_;
};

}  // namespace tessera
