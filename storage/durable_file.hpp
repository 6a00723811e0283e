// durable_file.hpp — small files that are either whole or not there.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include <sys/types.h>

#include "storage/result.hpp"

namespace tessera {

// Replaces `path` by `content`: temporary name, fsync, rename, fsync of the directory. After
// success it survives power loss; after failure or a crash `path` is what it was before.
// Errors: kStorageFull, kIo.
Result<void> write_file_durably(const std::filesystem::path& path, std::string_view content,
                                mode_t mode = 0644);

// The content of `path`. Errors: kNotFound if there is no such file; kPayloadTooLarge if it is
// longer than `max_bytes`; kIo.
Result<std::string> read_file(const std::filesystem::path& path, std::size_t max_bytes);

}  // namespace tessera
