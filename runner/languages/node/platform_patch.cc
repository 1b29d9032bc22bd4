#include "runner/languages/node/platform_patch.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "runner/languages/node/task_threads.h"

namespace forkbox::javascript {
namespace {

// node::NodePlatform and its functions; the names hold for Node 22 and later.
constexpr const char* kVtable = "_ZTVN4node12NodePlatformE";
constexpr const char* kDrainTasks = "_ZN4node12NodePlatform10DrainTasksEPN2v87IsolateE";
constexpr const char* kPostTask =
    "_ZN4node12NodePlatform26PostTaskOnWorkerThreadImplEN2v812TaskPriorityESt10unique_ptrINS1_"
    "4TaskESt14default_deleteIS4_EERKNS1_14SourceLocationE";
constexpr const char* kPostDelayedTask =
    "_ZN4node12NodePlatform33PostDelayedTaskOnWorkerThreadImplEN2v812TaskPriorityESt10unique_ptr"
    "INS1_4TaskESt14default_deleteIS4_EEdRKNS1_14SourceLocationE";

// A vtable starts with the offset to the top and the type info (Itanium C++ ABI, 2.5.2).
constexpr std::size_t kHeaderWords = 2;

using DrainFunction = void (*)(void* self, v8::Isolate* isolate);

// One per process and never destroyed: threads may run tasks until the very end.
struct State {
  void* platform = nullptr;
  std::vector<void*> vtable;
  DrainFunction drain = nullptr;
  std::unique_ptr<TaskThreads> threads;
};
State& TheState() {
  static State* const state = new State;
  return *state;
}

// These stand in for member functions: the object comes first, and a unique_ptr passed by value
// travels by address either way.
void PostTask(void* /*self*/, v8::TaskPriority priority, std::unique_ptr<v8::Task> task,
              const v8::SourceLocation& /*location*/) {
  TheState().threads->Post(priority, std::move(task));
}

void PostDelayedTask(void* /*self*/, v8::TaskPriority priority, std::unique_ptr<v8::Task> task,
                     double delay_in_seconds, const v8::SourceLocation& /*location*/) {
  TheState().threads->PostDelayed(priority, std::move(task),
                                  std::chrono::duration<double>(delay_in_seconds));
}

void DrainTasks(void* self, v8::Isolate* isolate) {
  State& state = TheState();
  do {
    state.threads->Drain();
    state.drain(self, isolate);  // what waits for the main thread
  } while (state.threads->Busy());
}

Result<void> ReplaceSlot(std::vector<void*>& vtable, const char* symbol, void* replacement) {
  void* const original = ::dlsym(RTLD_DEFAULT, symbol);
  const auto first = vtable.begin() + kHeaderWords;
  if (original == nullptr || std::count(first, vtable.end(), original) != 1) {
    return Fail(ErrorCode::kUnavailable, std::string("this node has no usable ") + symbol);
  }
  *std::find(first, vtable.end(), original) = replacement;
  return {};
}

}  // namespace

Result<void> PlatformPatch::Prepare(node::MultiIsolatePlatform& platform) {
  State& state = TheState();
  void* const symbol = ::dlsym(RTLD_DEFAULT, kVtable);
  Dl_info info{};
  ElfW(Sym)* entry = nullptr;
  if (symbol == nullptr ||
      ::dladdr1(symbol, &info, reinterpret_cast<void**>(&entry), RTLD_DL_SYMENT) == 0 ||
      entry == nullptr || entry->st_size <= kHeaderWords * sizeof(void*)) {
    return Fail(ErrorCode::kUnavailable, "this node does not export its platform's vtable");
  }
  void** const table = static_cast<void**>(symbol);
  void* used = nullptr;
  std::memcpy(&used, static_cast<const void*>(&platform), sizeof used);
  if (used != table + kHeaderWords) {
    return Fail(ErrorCode::kUnavailable, "this node's platform is not a node::NodePlatform");
  }
  state.vtable.assign(table, table + entry->st_size / sizeof(void*));
  state.drain = reinterpret_cast<DrainFunction>(::dlsym(RTLD_DEFAULT, kDrainTasks));
  for (const auto& [name, replacement] :
       {std::pair{kDrainTasks, reinterpret_cast<void*>(&DrainTasks)},
        std::pair{kPostTask, reinterpret_cast<void*>(&PostTask)},
        std::pair{kPostDelayedTask, reinterpret_cast<void*>(&PostDelayedTask)}}) {
    if (auto replaced = ReplaceSlot(state.vtable, name, replacement); !replaced) return replaced;
  }
  state.threads =
      std::make_unique<TaskThreads>(static_cast<std::size_t>(platform.NumberOfWorkerThreads()));
  state.platform = &platform;
  return {};
}

void PlatformPatch::Apply() {
  State& state = TheState();
  void* const functions = state.vtable.data() + kHeaderWords;
  std::memcpy(state.platform, &functions, sizeof functions);
}

}  // namespace forkbox::javascript
