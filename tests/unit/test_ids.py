from loomline.server.domain.ids import default_assistant_id, uuid7


def test_the_ids_of_default_assistants():
    assert str(default_assistant_id("agent")) == "fe096781-5601-53d2-b2f6-0d3403f7e9ca"
    assert str(default_assistant_id("chat")) == "eb6db400-e3c8-5d06-a834-015cb89efe69"


def test_ids_of_version_seven_sort_by_time():
    made = [uuid7() for _ in range(1000)]
    assert {each.version for each in made} == {7}
    assert len(set(made)) == 1000
    assert sorted(each.int >> 80 for each in made) == [each.int >> 80 for each in made]
