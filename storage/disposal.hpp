// disposal.hpp — freeing that takes long.
#pragma once

#include <cstddef>
#include <memory>

namespace tessera {

inline constexpr std::size_t kMostDisposals = 64;  // that wait for their turn

// Gives up `object`. If nobody else owns it, it is destroyed on a thread that stands behind others
// (storage/background.hpp), or here and now where kMostDisposals wait already or there is no memory
// to queue it. Thread-safe. What waits when the process ends is destroyed first.
void dispose_later(std::shared_ptr<const void> object) noexcept;

}  // namespace tessera
