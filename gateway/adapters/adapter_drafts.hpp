// adapter_drafts.hpp — packages that are put together file by file before they are validated.
//
// A draft is made, gets its files in any order (a file that is sent again replaces the first), and
// is completed: then it is an upload like any other. Drafts live in memory and their files in the
// staging folder, so a restart ends them, as the hour of their life does; what has to survive
// restarts is sent as an Upload (tenant_files.hpp).
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "storage/clock.hpp"
#include "storage/ids.hpp"
#include "storage/mutex.hpp"
#include "storage/result.hpp"
#include "storage/staged_file.hpp"

namespace tessera {

struct AdapterDraft {
  using File = std::shared_ptr<const StagedFile>;

  std::string id = {};  // "draft_" + ULID
  TenantId tenant = {};
  std::string adapter = {};  // the name that it is to be a version of
  WallTime created_at = {};
  WallTime expires_at = {};
  std::map<std::string, File, std::less<>> files = {};  // by their names
};

// Thread-safe. An id that is another tenant's or another adapter's is as one that does not exist.
class AdapterDrafts {
 public:
  // Ends the drafts whose time has come.
  void sweep(WallTime now);

  // Errors: kRequestExceedsLimit if the tenant has kMaxDraftsOfTenant.
  Result<AdapterDraft> create(const TenantId& tenant, std::string_view adapter, WallTime now);

  // Each returns the draft as it is then. Errors: kNotFound.
  Result<AdapterDraft> get(const TenantId& tenant, std::string_view adapter, std::string_view id,
                           WallTime now);
  Result<AdapterDraft> put(const TenantId& tenant, std::string_view adapter, std::string_view id,
                           std::string_view file, AdapterDraft::File bytes, WallTime now);
  // The draft is gone then.
  Result<AdapterDraft> take(const TenantId& tenant, std::string_view adapter, std::string_view id,
                            WallTime now);

 private:
  using Key = std::pair<TenantId, std::string>;

  AdapterDraft* find(const TenantId& tenant, std::string_view adapter, std::string_view id,
                     WallTime now) TESSERA_REQUIRES(mutex_);

  Mutex mutex_;
  std::map<Key, AdapterDraft> drafts_ TESSERA_GUARDED_BY(mutex_);
};

}  // namespace tessera
