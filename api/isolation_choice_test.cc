// What is asked for against what there is, pair by pair.
#include "api/isolation_choice.h"

#include <gtest/gtest.h>

#include "api/language_catalog.h"
#include "base/clock.h"

namespace forkbox::api {
namespace {

using sandbox::LanguageStatus;
using sandbox::vm::VmState;
using Kind = IsolationProblem::Kind;
using Choice = IsolationChoice;

LanguageStatus Language(const char* id, bool ready = true, const char* reason = "") {
  LanguageStatus language;
  language.id = id;
  language.aliases = {std::string(id) + "-alias"};
  language.ready = ready;
  language.reason = reason;
  return language;
}

runner::VmService Machines(VmState state, const char* accelerator,
                           std::vector<LanguageStatus> languages, std::uint64_t most_mb = 1'024) {
  runner::VmService vm;
  vm.status.state = state;
  vm.status.accelerator = accelerator;
  vm.status.reason = state == VmState::kFailed ? "run `forkbox vm build`" : "";
  vm.languages = std::move(languages);
  vm.most_memory_bytes = most_mb << 20;
  return vm;
}

struct Case {
  const char* name;
  Choice choice;
  const char* language;
  std::uint64_t memory_mb;
  std::optional<runner::VmService> vm;
  std::optional<schema::Isolation> chosen;
  Kind kind = Kind::kNotOffered;
  const char* says = "";
};

class ChooseIsolationTest : public testing::TestWithParam<Case> {};

TEST_P(ChooseIsolationTest, AsTheInstallationAllows) {
  const Case& c = GetParam();
  const std::vector<LanguageStatus> processes{Language("python"), Language("bash"),
                                              Language("java", false, "no java here")};
  schema::Limits limits;
  limits.memory_bytes = c.memory_mb << 20;
  const auto chosen =
      ChooseIsolation(c.choice, c.language, limits, processes, c.vm ? &*c.vm : nullptr);
  ASSERT_EQ(chosen.has_value(), c.chosen.has_value());
  if (chosen) {
    EXPECT_EQ(*chosen, *c.chosen);
    return;
  }
  EXPECT_EQ(chosen.error().kind, c.kind);
  EXPECT_NE(chosen.error().message.find(c.says), std::string::npos) << chosen.error().message;
  EXPECT_FALSE(chosen.error().limit.empty());
}

constexpr auto kProcess = schema::Isolation::kProcess;
constexpr auto kVm = schema::Isolation::kVm;
const auto kReadyTcg = Machines(
    VmState::kReady, "tcg",
    {Language("python"), Language("go"), Language("bash", false, "its smoke program failed")});
const auto kReadyKvm = Machines(VmState::kReady, "kvm", {Language("python"), Language("go")});
const auto kStarting = Machines(VmState::kStarting, "",
                                {Language("python", false, "starting"), Language("go", false)});
const auto kStartingUntold = Machines(VmState::kStarting, "", {});  // by a runner of before
const auto kRebuilding = Machines(VmState::kRebuilding, "kvm", {Language("python", false)});
const auto kFailed = Machines(VmState::kFailed, "", {});

INSTANTIATE_TEST_SUITE_P(
    Pairs, ChooseIsolationTest,
    testing::Values(
        Case{"Process", Choice::kProcess, "python", 256, kReadyKvm, kProcess},
        Case{"ProcessWithout", Choice::kProcess, "python", 256, std::nullopt, kProcess},
        Case{"ProcessNotReady", Choice::kProcess, "java", 256, kReadyTcg, std::nullopt,
             Kind::kLanguage, "no java here"},
        Case{"ProcessOnlyMachinesHaveIt", Choice::kProcess, "go", 256, kReadyTcg, std::nullopt,
             Kind::kLanguage, "go is not available"},
        Case{"Machine", Choice::kVm, "python", 256, kReadyTcg, kVm},
        Case{"MachineOnly", Choice::kVm, "go", 256, kReadyTcg, kVm},
        Case{"NoMachines", Choice::kVm, "python", 256, std::nullopt, std::nullopt,
             Kind::kNotOffered, "forkbox vm build"},
        Case{"MachineWithout", Choice::kVm, "java", 256, kReadyTcg, std::nullopt, Kind::kLanguage,
             "java is not in the virtual machines"},
        Case{"MachineNotReady", Choice::kVm, "bash", 256, kReadyTcg, std::nullopt, Kind::kLanguage,
             "its smoke program failed"},
        Case{"MachineTooSmall", Choice::kVm, "python", 1'025, kReadyTcg, std::nullopt,
             Kind::kMemory, "at most 1024 MB"},
        Case{"MachineJustLargeEnough", Choice::kVm, "python", 1'024, kReadyTcg, kVm},
        Case{"MachineStarts", Choice::kVm, "python", 256, kStarting, kVm},
        Case{"MachineStartsWithout", Choice::kVm, "java", 256, kStarting, std::nullopt,
             Kind::kLanguage, "java is not in"},
        Case{"MachineStartsUntold", Choice::kVm, "java", 256, kStartingUntold, kVm},
        Case{"MachineStartsAgain", Choice::kVm, "python", 256, kRebuilding, kVm},
        Case{"MachineStartsAgainWithout", Choice::kVm, "go", 256, kRebuilding, std::nullopt,
             Kind::kLanguage, "go is not in"},
        Case{"MachineFailed", Choice::kVm, "python", 256, kFailed, std::nullopt, Kind::kFailed,
             "run `forkbox vm build`"},
        Case{"AutoWithout", Choice::kAuto, "python", 256, std::nullopt, kProcess},
        Case{"AutoEmulated", Choice::kAuto, "python", 256, kReadyTcg, kProcess},
        Case{"AutoHardware", Choice::kAuto, "python", 256, kReadyKvm, kVm},
        Case{"AutoHardwareOnlyMachines", Choice::kAuto, "go", 256, kReadyKvm, kVm},
        Case{"AutoHardwareOtherLanguage", Choice::kAuto, "bash", 256, kReadyKvm, kProcess},
        Case{"AutoHardwareTooSmall", Choice::kAuto, "python", 4'096, kReadyKvm, kProcess},
        Case{"AutoStartsAgain", Choice::kAuto, "python", 256, kRebuilding, kProcess},
        Case{"AutoFailed", Choice::kAuto, "python", 256, kFailed, kProcess},
        Case{"AutoNobody", Choice::kAuto, "java", 256, kReadyKvm, std::nullopt, Kind::kLanguage,
             "no java here"}),
    [](const auto& test) { return test.param.name; });

TEST(IsolationChoiceTest, TheWords) {
  for (const char* word : {"process", "vm", "auto"}) {
    const auto choice = ParseIsolationChoice(word);
    ASSERT_TRUE(choice) << word;
    EXPECT_EQ(ToString(*choice), word);
  }
  for (const char* word : {"", "VM", "jail", "process "}) EXPECT_FALSE(ParseIsolationChoice(word));
}

TEST(MergeVmTest, ACounterpartOfLessChangesNothingOfWhatIsPromised) {
  std::optional<runner::VmService> all;
  MergeVm(Machines(VmState::kStarting, "", {}, 0), &all);
  EXPECT_EQ(all->status.state, VmState::kStarting);
  EXPECT_EQ(all->most_memory_bytes, 0U);
  MergeVm(kReadyKvm, &all);
  EXPECT_EQ(all->status.state, VmState::kReady);
  EXPECT_EQ(all->status.accelerator, "kvm");
  EXPECT_EQ(all->most_memory_bytes, 1'024ULL << 20);
  MergeVm(Machines(VmState::kReady, "tcg", {Language("bash")}, 512), &all);
  EXPECT_EQ(all->status.accelerator, "tcg") << "nobody knows which one will have it";
  EXPECT_EQ(all->most_memory_bytes, 512ULL << 20);
  EXPECT_EQ(all->languages.size(), 3U);
  MergeVm(kFailed, &all);
  EXPECT_EQ(all->status.state, VmState::kReady);
}

TEST(LanguageCatalogTest, MachinesHaveLanguagesToo) {
  FakeClock clock;
  std::optional<runner::VmService> vm = kReadyTcg;
  int asked = 0;
  LanguageCatalog catalog([] { return LanguageCatalog::Languages{Language("python")}; }, clock,
                          [&] {
                            ++asked;
                            return vm;
                          });
  EXPECT_EQ(catalog.Find("go-alias")->id, "go");
  EXPECT_EQ(catalog.Find("python")->id, "python");
  EXPECT_FALSE(catalog.Find("java"));
  EXPECT_EQ(catalog.KnownNames(), "python, go, bash, python-alias, go-alias, bash-alias");
  ASSERT_NE(catalog.Vm(), nullptr);
  EXPECT_EQ(asked, 1) << "once a second";
  vm.reset();
  clock.Advance(std::chrono::seconds(2));
  EXPECT_EQ(catalog.Vm(), nullptr);
  EXPECT_FALSE(catalog.Find("go"));
}

}  // namespace
}  // namespace forkbox::api
