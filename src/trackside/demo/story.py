"""The story that the demo tells, step by step, each with the evidence that it really happened."""

from __future__ import annotations

import json
import time
from typing import Any

from trackside.config.load import load as load_config
from trackside.demo.tour import MODEL, Tour, executed, metrics, topics
from trackside.demo.world import AUTHOR, REPO, STRANGER
from trackside.documents.codec import load
from trackside.documents.image import Image
from trackside.documents.release import Release
from trackside.documents.run import Run
from trackside.documents.verdict import Verdict

BETTER = "features: [hour, weekday, arrival_hour, distance, carrier, origin, dest]"
WORSE = "features: [origin]"
RETRAIN_BRANCH = f"trackside/retrain/{MODEL}"
DEPLOY_BRANCH = f"trackside/deploy/{MODEL}"


class Story(Tour):
    """From a project without Trackside to a retrained, promoted and rolled back model."""

    def run(self) -> None:
        """All steps. Raises EvidenceMissing."""
        self.step("a project adopts Trackside: trackside init", self._adopt)
        self.step("baseline run", self._baseline)
        self.step("three pull requests", self._open)
        self.together(
            [("pull request that improves the model", self._better)],
            [("pull request that breaks a bound", self._worse)],
            [("pull request that changes the README", self._readme)],
        )
        self.step("merge: the first release", lambda: self._release(self.better, "1.0.0"))
        self.together(
            [("image of the first release", lambda: self._image("1.0.0"))],
            [
                ("production data of May: no drift", lambda: self._drift(5, "ok", streak=0)),
                ("production data of October: drift", lambda: self._drift(10, "drift", streak=1)),
            ],
        )
        self.together(
            [("production data of November: drift again, a retraining pull request", self._retrain)],
            [("/promote delay staging: refused for a stranger, done for a maintainer", self._promote)],
        )
        self.step("merge of the retraining: the next release", lambda: self._release(self.retraining, "1.1.0"))
        self.together(
            [("image of the next release", lambda: self._image("1.1.0"))],
            [
                ("promotion of the new version and /rollback", self._rollback),
                ("a colleague asks what is in staging: fetched, verified, traced to its data", self._asked),
            ],
        )

    # Adoption

    def _adopt(self) -> dict[str, Any]:
        self.world.seed(self.say)
        laptop = self.world.laptop()
        told = laptop.trackside("init", "--dry-run")
        self.check(not laptop.changed(), f"init --dry-run changed files: {laptop.changed()}")
        laptop.trackside("init")
        draft = load_config((laptop.folder / "trackside.yaml").read_text())
        final = load_config(self.world.sample("trackside.yaml").decode())
        self.check(draft.models[0].path == final.models[0].path, f"init found {draft.models[0].path!r}")
        self.save("trackside.init.yaml", (laptop.folder / "trackside.yaml").read_bytes())
        (laptop.folder / "trackside.yaml").write_bytes(self.world.policy())
        if not self.world.container:
            self.say("  no engine for containers here: the Bento will be served and tested without one")
            release = laptop.folder / ".github/workflows/release.yml"
            given = "          releases: ${{ needs.register.outputs.released }}\n"
            self.check(given in release.read_text(), "release.yml gives its image job no releases")
            release.write_text(release.read_text().replace(given, given + "          backend: none\n"))
        laptop.trackside("check")
        commit = laptop.push("Adopt Trackside [skip ci]")
        workflows = sorted(path.name for path in (laptop.folder / ".github/workflows").iterdir())
        return {
            "repository": REPO,
            "commit": commit,
            "workflows": workflows,
            "diff": self.save("init.diff", told),
            "pages": f"{self.world.sandbox.url}/{REPO}",
        }

    def _baseline(self) -> dict[str, Any]:
        self.dispatch("train.yml", {"model": MODEL})
        self.no_failed_runs()
        run, document = self.newest_run("baseline")
        self.check(run.status == "succeeded", f"the baseline run {run.status}: {run.log_tail[-300:]}")
        return {"run_document": document, "stages_executed": executed(run), "metrics": metrics(run)}

    # Pull requests

    def _open(self) -> dict[str, Any]:
        params = (self.hub.bare(REPO).file("main", "params.yaml") or b"").decode()
        start = params.index("features:")
        better, worse = (params[:start] + one + params[params.index("\n", start) :] for one in (BETTER, WORSE))
        words = (self.hub.bare(REPO).file("main", "README.md") or b"").decode() + "\nQuestions: open an issue.\n"
        self.better = self._pull("Use the whole schedule", "better", "params.yaml", better)
        self.worse = self._pull("Origin alone is enough", "worse", "params.yaml", worse)
        self.opened = time.monotonic()
        self.words = self._pull("Say where to ask", "words", "README.md", words)
        return {"pull_requests": [self.better, self.worse, self.words]}

    def _pull(self, title: str, branch: str, path: str, text: str) -> int:
        self.hub.commit_folder(REPO, branch, {path: text.encode()}, title, self.world.actor())
        return self.hub.open_pull(REPO, title=title, head=branch, base="main", actor=self.world.actor())

    def _better(self) -> dict[str, Any]:
        return self._trained(self.better, "better", "success", "**Gate passed**")

    def _worse(self) -> dict[str, Any]:
        return self._trained(self.worse, "worse", "failure", "**Gate failed**")

    def _trained(self, number: int, name: str, expected: str, words: str) -> dict[str, Any]:
        self.wait(f"#{number}")
        evidence = self.report(number, name)
        run, document = self.newest_run(name, number)
        self.check(evidence["check_conclusion"] == expected, f"check is {evidence['check_conclusion']}, not {expected}")
        self.check(executed(run) > 0, "nothing was trained")
        comment = (self.out / evidence["comment"]).read_text()
        self.check(words in comment and "`roc_auc`" in comment, f"the comment does not say {words} with its metrics")
        return {**evidence, "run_document": document, "stages_executed": executed(run), "metrics": metrics(run)}

    def _readme(self) -> dict[str, Any]:
        self.wait(f"#{self.words}")
        seconds = round(time.monotonic() - self.opened, 2)
        evidence = self.report(self.words, "words")
        training = self.state.list("run", REPO, workflow_path=".github/workflows/train.yml")
        trained = [one["id"] for one in training if f"#{self.words}" in topics(one)]
        self.check(not trained, "a README change started training")
        self.check(evidence["check_conclusion"] == "success", f"check is {evidence['check_conclusion']}")
        baseline = load(Run, (self.out / "evidence/baseline.run.json").read_bytes())
        pointer = self.recorded(f"inputs/{MODEL}/{baseline.input_digest.removeprefix('sha256:')}.json")
        self.check(pointer is not None and json.loads(pointer)["run"] == baseline.id, "no pointer to the baseline run")
        return {
            **evidence,
            "run_document": "evidence/baseline.run.json",
            "stages_executed": 0,
            "seconds_to_green": seconds,
        }

    # Merge

    def _release(self, number: int, version: str) -> dict[str, Any]:
        """Merging publishes what the pull request trained, without training again."""
        runs = self.paths(f"runs/{MODEL}")
        self.merged = self.merge(number)
        self.wait(f"commit {self.merged}", "register")
        self.no_failed_runs()
        self.check(self.paths(f"runs/{MODEL}") == runs, "the merge trained again")
        tag = f"{MODEL}@v{version}"
        release, evidence = self._published(version)
        self.check(tag in self.tags(), f"there is no tag {tag}")
        trained = load(Run, self.recorded(f"runs/{MODEL}/{release.run}.json") or b"")
        self.check(release.commit == self.merged, f"{tag} names another commit")
        self.check(trained.source.pull_request == number, f"{tag} is not what #{number} trained")
        model = next(one for one in trained.artifacts if one.role == "model")
        self.check(release.model_digest == model.digest, "the released model is not the trained one")
        return {"tag": tag, **evidence, "stages_executed": 0}

    def _published(self, version: str) -> tuple[Release, dict[str, Any]]:
        """A release's record and, saved, its assets, each held to the digest that the record gives."""
        tag = f"{MODEL}@v{version}"
        release, document = self.document(Release, f"releases/{MODEL}/{version}.json", f"release-{version}")
        self.check(release.state == "published" and tag in self.releases(), f"{tag} is {release.state}")
        files = self.world.assets(tag, self.out / "evidence" / tag)
        for asset in release.assets:
            self.check(files[asset.name].digest == asset.digest, f"{asset.name} has another digest than recorded")
        return release, {"release": document, "assets": sorted(files)}

    def _image(self, version: str) -> dict[str, Any]:
        """The image that was built and tested after the merge, and the proposal to deploy it."""
        self.wait(f"commit {self.merged}")
        self.no_failed_runs()
        _, published = self._published(version)
        self.check("image.json" in published["assets"], f"release {version} has no image.json")
        image = load(Image, (self.out / "evidence" / f"{MODEL}@v{version}" / "image.json").read_bytes())
        smoke = image.smoke
        self.check(smoke.requests > 0 and smoke.passed == smoke.requests, f"smoke test: {smoke}")
        self.check(smoke.bad_requests > 0 and smoke.bad_refused == smoke.bad_requests, f"smoke test: {smoke}")
        evidence = {
            "image": image.digest
            or ("built, not pushed" if image.container else "the Bento, served without a container"),
            "smoke": f"{smoke.passed}/{smoke.requests} answers, {smoke.bad_refused}/{smoke.bad_requests} refusals",
        }
        return {**published, **evidence, **self._deployed(image)}

    def _deployed(self, image: Image) -> dict[str, Any]:
        """The pull request that changes the digest, where there is an image to name."""
        pulls = self.open_pulls(DEPLOY_BRANCH)
        if not image.digest:
            self.check(not pulls, "a deployment of no image was proposed")
            return {"deployment": "not proposed: without a container there is no digest to deploy"}
        self.check(len(pulls) == 1, f"{len(pulls)} deploy pull requests instead of one")
        text = (self.hub.bare(REPO).file(DEPLOY_BRANCH, "deploy/kustomization.yaml") or b"").decode()
        self.check(image.digest in text, "the deploy pull request does not name the new digest")
        return {"deploy_pull_request": pulls[0], "kustomization": self.save(f"deploy-{image.version}.yaml", text)}

    # Drift

    def _drift(self, month: int, expected: str, *, streak: int) -> dict[str, Any]:
        self.world.produce(month, self.out / "evidence" / f"{MODEL}@v1.0.0" / "delay.skops")
        as_of = f"2013-{month + 1:02}-01"
        self.dispatch("drift.yml", {"model": MODEL, "as-of": as_of})
        self.no_failed_runs()
        verdict, document = self.document(Verdict, f"drift/{MODEL}/{as_of}.json", f"verdict-{as_of}")
        self.check(verdict.verdict == expected, f"the verdict of month {month} is {verdict.verdict}, not {expected}")
        self.check(verdict.streak == streak, f"a streak of {verdict.streak} instead of {streak}")
        issues = [
            one
            for one in self.state.list("issue", REPO)
            if not one.get("is_pull") and one["state"] == "open" and "trackside:drift" in (one["body"] or "")
        ]
        self.check(len(issues) == (expected == "drift"), f"{len(issues)} open drift issues")
        return {"verdict": verdict.verdict, "moved": verdict.moved, "streak": verdict.streak, "document": document}

    def _retrain(self) -> dict[str, Any]:
        evidence = self._drift(11, "drift", streak=2)
        pulls = self.open_pulls(RETRAIN_BRANCH)
        self.check(len(pulls) == 1, f"{len(pulls)} retraining pull requests instead of one")
        self.retraining = pulls[0]
        body = self.hub.issue(REPO, self.retraining)["body"] or ""
        self.check("/drift snooze" in body, "the pull request does not say how to silence it")
        self.save("retraining.md", body)
        trained = self._trained(self.retraining, "retraining", "success", "**Gate passed**")
        run = load(Run, (self.out / trained["run_document"]).read_bytes())
        self.check(run.comparison is not None and run.comparison.rows > 0, "champion and challenger were not compared")
        self.comment(self.retraining, "/release minor")
        self.no_failed_runs()
        return {**evidence, **trained, "compared_rows": run.comparison.rows if run.comparison else 0}

    # Commands

    def _promote(self) -> dict[str, Any]:
        refused = self.comment(self.better, f"/promote {MODEL} staging", STRANGER)
        self.check(not any(tag.startswith(f"{MODEL}#") for tag in self.tags()), "a stranger promoted a model")
        self.check(self._reaction(refused) == "confused", f"the stranger's comment has {self._reaction(refused)!r}")
        done = self.comment(self.better, f"/promote {MODEL} staging", AUTHOR)
        self.check(f"{MODEL}#staging#1" in self.tags(), f"tags: {self.tags()}")
        self.check(self._reaction(done) == "rocket", f"the maintainer's comment has {self._reaction(done)!r}")
        return {"tag": f"{MODEL}#staging#1", "decision": "refused for a stranger"}

    def _rollback(self) -> dict[str, Any]:
        self.comment(self.retraining, f"/promote {MODEL}@v1.1.0 staging")
        self.check(self._holder("staging") == "1.1.0", f"staging is held by {self._holder('staging')}")
        self.comment(self.retraining, f"/rollback {MODEL} staging")
        self.check(self._holder("staging") == "1.0.0", f"staging is held by {self._holder('staging')}")
        stages = [tag for tag in self.tags() if "#" in tag]
        return {"tag": stages[-1], "stage_tags": stages}

    def _asked(self) -> dict[str, Any]:
        """In a fresh clone: which version holds the stage, its model, whether all of it is as it was signed, and what
        else learnt from its data."""
        laptop, held = self.world.laptop(), f"{MODEL}#staging"
        version = laptop.trackside("models", "which", held).strip()
        self.check(version == "v1.0.0", f"models which says {version!r}")
        shown = laptop.trackside("models", "show", MODEL) + "\n" + laptop.trackside("models", "history", MODEL)
        got = json.loads(laptop.trackside("models", "get", held, "-o", "got", "--json"))
        verified = json.loads(laptop.trackside("models", "verify", held, "--signed", "--json"))
        wrong = [one["name"] for one in verified["checks"] if one["state"] != "ok"]
        self.check(verified["verified"] and not wrong, f"models verify: {wrong}")
        traced = laptop.trackside("lineage", "--data", "data/flights.csv")
        self.check(f"{MODEL}@v1.0.0" in traced, "the version is not traced to its data")
        return {
            "version": version,
            "registry": self.save("models.txt", shown),
            "fetched": self.save("models-get.json", json.dumps(got, indent=2)),
            "verified": self.save("models-verify.json", json.dumps(verified, indent=2)),
            "checks": len(verified["checks"]),
            "lineage": self.save("lineage.txt", traced),
        }

    def _holder(self, stage: str) -> str:
        """The version at the newest stage tag's commit, as GTO reads it."""
        bare = self.hub.bare(REPO)
        counters = [int(tag.split("#")[2]) for tag in self.tags() if tag.startswith(f"{MODEL}#{stage}#")]
        commit = bare.git("rev-parse", f"{MODEL}#{stage}#{max(counters)}^{{commit}}").text.strip() if counters else ""
        found = [
            tag.split("@v")[1]
            for tag in self.tags()
            if "@v" in tag and bare.git("rev-parse", f"{tag}^{{commit}}").text.strip() == commit
        ]
        return found[0] if found else ""

    def _reaction(self, comment_id: int) -> str:
        """The reaction that our answer left; `eyes` means that it has not ended."""
        found = [
            one["content"]
            for one in self.state.list("reaction", REPO)
            if str(comment_id) in str(one.get("subject", "")) and one["content"] != "eyes"
        ]
        return found[-1] if found else ""
