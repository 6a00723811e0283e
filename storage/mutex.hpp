// mutex.hpp — a mutex whose rules the compiler checks.
//
// Written `Mutex mutex_; T field_ TESSERA_GUARDED_BY(mutex_);`. Under clang's -Wthread-safety (the
// `tsa` preset) touching the field without the lock does not compile; under g++ the annotations
// vanish. std::mutex itself carries none, hence the thin wrapper.
#pragma once

#include <mutex>

#if defined(__clang__)
#define TESSERA_THREAD_ANNOTATION(x) __attribute__((x))
#else
#define TESSERA_THREAD_ANNOTATION(x)
#endif

#define TESSERA_GUARDED_BY(mutex) TESSERA_THREAD_ANNOTATION(guarded_by(mutex))
#define TESSERA_REQUIRES(...) TESSERA_THREAD_ANNOTATION(requires_capability(__VA_ARGS__))
#define TESSERA_EXCLUDES(...) TESSERA_THREAD_ANNOTATION(locks_excluded(__VA_ARGS__))

namespace tessera {

// Satisfies BasicLockable, so std::condition_variable_any can wait on it.
class TESSERA_THREAD_ANNOTATION(capability("mutex")) Mutex {
 public:
  void lock() TESSERA_THREAD_ANNOTATION(acquire_capability()) { mutex_.lock(); }
  // Whether it was free, and is the caller's now.
  bool try_lock() TESSERA_THREAD_ANNOTATION(try_acquire_capability(true)) {
    return mutex_.try_lock();
  }
  void unlock() TESSERA_THREAD_ANNOTATION(release_capability()) { mutex_.unlock(); }

 private:
  std::mutex mutex_;
};

// Holds `mutex` for a scope.
class TESSERA_THREAD_ANNOTATION(scoped_lockable) MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) TESSERA_THREAD_ANNOTATION(acquire_capability(mutex))
      : mutex_(mutex) {
    mutex_.lock();
  }
  // Of a mutex that the caller has locked already.
  MutexLock(Mutex& mutex, std::adopt_lock_t) TESSERA_THREAD_ANNOTATION(requires_capability(mutex))
      : mutex_(mutex) {}
  ~MutexLock() TESSERA_THREAD_ANNOTATION(release_capability()) { mutex_.unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mutex_;
};

}  // namespace tessera
